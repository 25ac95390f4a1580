"""The caller's terminal while it is raw, for a program inside a container, or gives single keys: given back whatever happens.

"Whatever" includes `kill -9` of this process: a child that does nothing else waits for that and restores the modes then.
"""

from __future__ import annotations

import os
import signal
import termios
import tty
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

_DISMISSED = b"."


@contextmanager
def raw_mode(terminal: int) -> Iterator[None]:
    """Every key goes to the program inside, Ctrl-C and Ctrl-Z too."""
    with _given_back(terminal):
        tty.setraw(terminal)
        yield


@contextmanager
def single_keys(terminal: int) -> Iterator[None]:
    """Keys come one by one, without Enter, and don't show; Ctrl-C is what it was."""
    with _given_back(terminal):
        tty.setcbreak(terminal)
        yield


@contextmanager
def _given_back(terminal: int) -> Iterator[None]:
    before = termios.tcgetattr(terminal)
    guardian, dismissal = _guard(terminal, before)
    try:
        yield
    finally:
        restore(terminal, before)
        with suppress(OSError):
            os.write(dismissal, _DISMISSED)
        os.close(dismissal)
        with suppress(ChildProcessError):
            os.waitpid(guardian, 0)


def restore(terminal: int, modes: list[Any]) -> None:
    """Give *terminal* its *modes* back, also from the background. One that was hung up has none."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTTOU})
    try:
        with suppress(termios.error):
            termios.tcsetattr(terminal, termios.TCSADRAIN, modes)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _guard(terminal: int, modes: list[Any]) -> tuple[int, int]:
    """A child that restores *terminal* when this process ends without having said that it did so itself."""
    waiting, dismissal = os.pipe2(os.O_CLOEXEC)
    pid = os.fork()
    if pid == 0:
        try:
            os.close(dismissal)
            os.setpgid(0, 0)
            signal.set_wakeup_fd(-1)
            for number in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM, signal.SIGQUIT, signal.SIGTTOU):
                signal.signal(number, signal.SIG_IGN)
            if os.read(waiting, 1) != _DISMISSED:
                restore(terminal, modes)
        finally:
            os._exit(0)
    os.close(waiting)
    return pid, dismissal
