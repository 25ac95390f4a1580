"""Signals as bytes in a pipe, so that one poll loop sees them in order with everything else (signal.set_wakeup_fd)."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from types import FrameType


def _received(_signum: int, _frame: FrameType | None) -> None:
    """The byte in the pipe is all we want; a handler must exist for it to be written."""


class SignalInbox:
    """Receives *signums* for the life of this process. Poll `fd`; `read()` gives what came."""

    def __init__(self, signums: Iterable[signal.Signals]) -> None:
        self.has_heard = False
        """Whether anything has come so far."""
        self.fd, write_end = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        signal.set_wakeup_fd(write_end, warn_on_full_buffer=False)
        for signum in signums:
            signal.signal(signum, _received)

    def read(self) -> list[signal.Signals]:
        try:
            came = [signal.Signals(number) for number in os.read(self.fd, 64)]
        except BlockingIOError:
            return []
        self.has_heard = self.has_heard or bool(came)
        return came


@contextmanager
def held_back(signums: Iterable[signal.Signals]) -> Iterator[None]:
    """*signums* wait until the end of the body: then whoever has been told to receive them gets them."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, signums)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
