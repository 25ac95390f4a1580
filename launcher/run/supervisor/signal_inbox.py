"""Signals as bytes in a pipe, so that one poll loop sees them in order with everything else (signal.set_wakeup_fd)."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from types import FrameType

from launcher.journal.status import Reason

REQUESTS = {
    signal.SIGTERM: Reason.STOPPED,
    signal.SIGINT: Reason.INTERRUPTED,
    signal.SIGUSR1: Reason.PRUNED,
    signal.SIGUSR2: Reason.TIMEOUT,
}
"""What a signal to a supervisor asks of its run: `launch stop`, Ctrl-C in the command, a pruner, the end of a cluster job's time.
A second one of them, or SIGQUIT (`launch kill`), asks for its end now."""


def _receive(_signum: int, _frame: FrameType | None) -> None:
    """The byte in the pipe is all we need; a handler must exist for it to be written."""


class SignalInbox:
    """Receives *signums* for the life of this process. Poll `fd`; `read()` gives what came."""

    def __init__(self, signums: Iterable[signal.Signals]) -> None:
        self.has_received = False
        """Whether anything has come so far."""
        self.fd, write_end = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        signal.set_wakeup_fd(write_end, warn_on_full_buffer=False)
        for signum in signums:
            signal.signal(signum, _receive)

    def read(self) -> list[signal.Signals]:
        try:
            received = [signal.Signals(number) for number in os.read(self.fd, 64)]
        except BlockingIOError:
            return []
        self.has_received = self.has_received or bool(received)
        return received


@contextmanager
def held_back(signums: Iterable[signal.Signals]) -> Iterator[None]:
    """*signums* wait until the end of the body: then whoever has been told to receive them gets them."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, signums)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
