"""Run a function in a forked child, in namespaces of its own, and get its result: how a test changes what it must not keep."""

from __future__ import annotations

import json
import os
import traceback
from collections.abc import Callable
from typing import Any

from runtime.kernel import libc


def forked(work: Callable[[], Any], *, unshare: int = 0, enter: str | None = None) -> Any:
    """What *work* returns (as JSON) from a child that first made the namespaces *unshare* or entered that at the path *enter*."""
    reader, writer = os.pipe2(os.O_CLOEXEC)
    pid = os.fork()
    if pid == 0:
        try:
            if enter is not None:
                libc.setns(os.open(enter, os.O_RDONLY | os.O_CLOEXEC))
            if unshare:
                libc.unshare(unshare)
            answer = {"result": work()}
        except BaseException:
            answer = {"failure": traceback.format_exc()}
        try:
            os.write(writer, json.dumps(answer).encode())
        finally:
            os._exit(0)
    os.close(writer)
    with os.fdopen(reader, "rb") as pipe:
        answer = json.loads(pipe.read() or b'{"failure": "the child was killed"}')
    os.waitpid(pid, 0)
    assert "failure" not in answer, answer["failure"]
    return answer["result"]
