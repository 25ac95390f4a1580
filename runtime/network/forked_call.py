"""Run netlink work in a forked child, which alone imports pyroute2.

pyroute2 brings asyncio, multiprocessing and 15 MB: a supervisor that lives for days should not carry them for a few milliseconds
of work. The result travels back as JSON.
"""

from __future__ import annotations

import errno
import json
import os
import signal
import traceback
from collections.abc import Callable

from runtime.errors import NetworkError, RuntimeFailure, Unsupported


def forked_call(work: Callable[[], dict[str, str]], *, doing: str) -> dict[str, str]:
    """What *work* returns, computed in a child. A failure names what we were *doing*.

    Raises Unsupported when the kernel or our privileges don't allow it, NetworkError otherwise.
    """
    reader, writer = os.pipe2(os.O_CLOEXEC)
    pid = os.fork()
    if pid == 0:
        try:
            # pyroute2 ends processes of its own by SIGTERM. With the caller's wake-up descriptor, that would arrive in the
            # caller's pipe (signal_inbox.py) as if somebody had asked the run to stop.
            signal.set_wakeup_fd(-1)
            os.close(reader)
            _write_all(writer, json.dumps(_outcome(work)).encode())
        finally:
            os._exit(0)
    os.close(writer)
    with os.fdopen(reader, "rb") as pipe:
        answer = pipe.read()
    os.waitpid(pid, 0)
    if not answer:
        raise NetworkError(f"{doing} failed: the process that did it was killed")
    outcome: dict[str, dict[str, str]] = json.loads(answer)
    if "result" in outcome:
        return outcome["result"]
    failure = outcome["failure"]
    kind = Unsupported if failure["kind"] == "Unsupported" else NetworkError
    raise kind(f"{doing} failed: {failure['message']}", hint=failure["hint"] or None)


def _outcome(work: Callable[[], dict[str, str]]) -> dict[str, dict[str, str]]:
    try:
        return {"result": work()}
    except RuntimeFailure as failure:
        return {"failure": {"kind": type(failure).__name__, "message": failure.message, "hint": failure.hint or ""}}
    except Exception as error:
        return {"failure": _explained(error)}


def _explained(error: Exception) -> dict[str, str]:
    """A netlink error (`code`, not an OSError) or a system call's; anything else is a bug and keeps its traceback."""
    code = getattr(error, "code", None) or getattr(error, "errno", None)
    if not isinstance(code, int):
        return {"kind": "NetworkError", "message": "".join(traceback.format_exception(error)), "hint": ""}
    words = f"{os.strerror(code).lower()} ({errno.errorcode.get(code, code)})"
    if code == errno.EPERM:
        hint = "a bridge needs root and CAP_NET_ADMIN: `network=host` shares the host's network without"
        return {"kind": "Unsupported", "message": words, "hint": hint}
    if code in (errno.EOPNOTSUPP, errno.EPROTONOSUPPORT, errno.ENOENT, errno.ENODEV):
        hint = "the kernel may lack `bridge`, `veth` or `nf_tables` (`launch doctor` says which)"
        return {"kind": "Unsupported", "message": words, "hint": hint}
    return {"kind": "NetworkError", "message": words, "hint": ""}


def _write_all(descriptor: int, data: bytes) -> None:
    while data:
        data = data[os.write(descriptor, data) :]
