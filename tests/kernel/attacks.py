"""Attacks from inside a container, as code for `userland.inside`: what the attacker's Python starts with.

`tried(name, call)` notes how one attempt ended in `answer`: "refused: …" with the kernel's words, or "done".
"""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import Any

from tests.kernel.userland import inside

TOOLS = """
import ctypes, errno, fcntl, signal, socket, stat, struct, time
libc = ctypes.CDLL(None, use_errno=True)
answer = {}

class Refused(Exception):
    pass

def system_call(number, *arguments):
    ctypes.set_errno(0)
    result = libc.syscall(ctypes.c_long(number), *[ctypes.c_long(one) if isinstance(one, int) else one for one in arguments])
    if result == -1:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return result

def tried(name, call):
    try:
        call()
        answer[name] = "done"
    except OSError as error:
        answer[name] = "refused: " + errno.errorcode.get(error.errno, str(error.errno))

def written(path):
    return lambda: os.close(os.open(path, os.O_WRONLY))

def content(path):
    def read():
        with open(path, "rb") as file:
            if not file.read(64).strip(b"\\0 \\n"):
                raise OSError(errno.ENODATA, "nothing in it")
    return read
"""


def attacked(directory: Path, code: str, **changes: Any) -> Any:
    """What *code*, behind TOOLS, leaves in `answer`."""
    return inside(directory, TOOLS + textwrap.dedent(code), **changes)


def done(answer: dict[str, str]) -> dict[str, str]:
    """The attempts that were not refused."""
    return {name: ended for name, ended in answer.items() if not ended.startswith("refused")}
