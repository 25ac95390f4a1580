"""Ask something in a forked child, which may hang for minutes in the kernel: whoever asks waits for its silence, not for its end.

The child tells what it finds one message at a time, so that what came before a hang is kept. NVML makes no promise about fork
either: it is opened in the child, and nowhere else.
"""

from __future__ import annotations

import json
import os
import select
import signal
import time
from collections.abc import Callable, Sequence
from typing import Any

from runtime.errors import RuntimeFailure
from runtime.kernel import processes
from runtime.light_dataclasses import dataclass, field
from runtime.whole_file import write_all

Tell = Callable[[dict[str, Any]], None]

_abandoned: list[int] = []
"""Children that were killed and have not ended: they are in a system call that nothing interrupts."""


@dataclass(slots=True)
class Asked:
    """A child that was asked. `error` (with `hint`): it gave up, in words."""

    pid: int
    fd: int
    messages: list[dict[str, Any]] = field(default_factory=list)
    error: dict[str, Any] | None = None
    silent: bool = False
    """It hung, and was killed."""
    incomplete: bool = False
    """It died, or hung, before its last word."""
    _rest: bytes = b""

    def take(self, received: bytes) -> None:
        *lines, self._rest = (self._rest + received).split(b"\n")
        for line in lines:
            message = json.loads(line)
            if "error" in message:
                self.error = message
            elif message != _LAST_WORD:
                self.messages.append(message)
            else:
                self.incomplete = False


_LAST_WORD = {"end": True}


def ask(question: Callable[[Tell], None]) -> Asked:
    """Fork a child that answers *question*. `listen` has to follow."""
    _reap_abandoned()
    read_end, write_end = os.pipe2(os.O_CLOEXEC)
    asker = os.getpid()
    pid = processes.fork()
    if pid == 0:
        _answer_and_exit(question, write_end, asker)
    os.close(write_end)
    return Asked(pid, read_end, incomplete=True)


def listen(asked: Sequence[Asked], *, patience_s: float) -> None:
    """Take the answers of all children. One that says nothing for *patience_s* is given up."""
    heard = {one.fd: (one, time.monotonic()) for one in asked}
    try:
        while heard:
            now = time.monotonic()
            patience = max(0.0, min(patience_s - (now - at) for _, at in heard.values()))
            ready, _, _ = select.select(list(heard), [], [], patience)
            for fd in ready:
                received = os.read(fd, 1 << 16)
                if received:
                    heard[fd][0].take(received)
                    heard[fd] = (heard[fd][0], time.monotonic())
                else:
                    _end(heard.pop(fd)[0])
            for fd, (one, at) in list(heard.items()):
                if time.monotonic() - at >= patience_s:
                    one.silent = True
                    del heard[fd]
                    _end(one)
    finally:
        for one, _ in heard.values():
            _end(one)


def _end(one: Asked) -> None:
    os.close(one.fd)
    os.kill(one.pid, signal.SIGKILL)
    # One that hangs in the kernel outlives the signal for as long as it hangs: it is not waited for.
    deadline = time.monotonic() + (0.2 if one.silent else 5.0)
    while not _is_reaped(one.pid):
        if time.monotonic() > deadline:
            _abandoned.append(one.pid)
            return
        time.sleep(0.001)


def _reap_abandoned() -> None:
    _abandoned[:] = [pid for pid in _abandoned if not _is_reaped(pid)]


def _is_reaped(pid: int) -> bool:
    try:
        return os.waitpid(pid, os.WNOHANG)[0] != 0
    except ChildProcessError:  # by somebody in this process who waits for all children
        return True


def _answer_and_exit(question: Callable[[Tell], None], write_end: int, asker: int) -> None:
    def tell(message: dict[str, Any]) -> None:
        write_all(write_end, json.dumps(message).encode() + b"\n")

    code = 1
    try:
        processes.end_with(asker)
        signal.set_wakeup_fd(-1)
        processes.reset_signals()
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # whoever asked decides
        try:
            question(tell)
        except RuntimeFailure as failure:
            tell({"error": failure.message, "hint": failure.hint})
        tell(_LAST_WORD)
        code = 0
    finally:
        os._exit(code)
