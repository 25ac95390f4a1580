"""The caller's terminal: its size, and while it is raw, for a program inside a container, or gives single keys.

It is given back whatever happens, which includes `kill -9` of this process: a child that does nothing else waits for that and
restores the modes then.
"""

from __future__ import annotations

import os
import select
import signal
import sys
import termios
import time
import tty
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from launcher.errors import ConfigError
from runtime.kernel import processes

_DISMISSED = b"."


@contextmanager
def raw_mode(terminal: int) -> Iterator[None]:
    """Every key goes to the program inside, Ctrl-C and Ctrl-Z too."""
    with _restored_after(terminal):
        tty.setraw(terminal, termios.TCSADRAIN)  # what was typed ahead is not thrown away
        yield


@contextmanager
def single_keys(terminal: int) -> Iterator[None]:
    """Keys come one by one, without Enter, and don't show; Ctrl-C is what it was."""
    with _restored_after(terminal):
        tty.setcbreak(terminal)
        yield


@contextmanager
def _restored_after(terminal: int) -> Iterator[None]:
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

    def wait_and_restore() -> None:
        os.close(dismissal)
        os.setpgid(0, 0)
        signal.set_wakeup_fd(-1)
        for number in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM, signal.SIGQUIT, signal.SIGTTOU):
            signal.signal(number, signal.SIG_IGN)
        if os.read(waiting, 1) != _DISMISSED:
            restore(terminal, modes)

    pid = processes.run_in_child(wait_and_restore)
    os.close(waiting)
    return pid, dismissal


class Keys:
    """What is typed at *terminal*; None: nothing ever is."""

    def __init__(self, terminal: int | None) -> None:
        self._terminal = terminal

    def wait_for(self, key: str, *, within_s: float) -> bool:
        """Wait for *within_s* seconds, or until *key* is pressed."""
        end = time.monotonic() + within_s
        while (left := end - time.monotonic()) > 0:
            if self._terminal is None:
                time.sleep(left)
            elif select.select([self._terminal], [], [], left)[0]:
                typed = os.read(self._terminal, 64)
                if not typed or key.encode() in typed:
                    return True
        return False


@contextmanager
def typed_keys() -> Iterator[Keys]:
    """The keys of standard input where it is a terminal that is ours: in the background they are somebody else's."""
    if not sys.stdin.isatty() or os.tcgetpgrp(sys.stdin.fileno()) != os.getpgrp():
        yield Keys(None)
        return
    with single_keys(sys.stdin.fileno()):
        yield Keys(sys.stdin.fileno())


def terminal_size() -> tuple[int, int]:
    """Rows and columns of our terminal; the usual ones when it has none to tell."""
    from runtime.container.pty import size_of

    for stream in (sys.stdin, sys.stdout, sys.stderr):
        if os.isatty(stream.fileno()):
            rows, columns = size_of(stream.fileno())
            if rows and columns:
                return rows, columns
    return 24, 80


def need_terminal(hint: str) -> None:
    if not os.isatty(sys.stdin.fileno()):
        raise ConfigError("stdin is not a terminal", hint=hint)


def agrees(question: str) -> bool:
    """What the person says who is asked *question*; only `y` and `yes` are a yes."""
    print(f"{question} [y/N] ", end="", file=sys.stderr, flush=True)
    return sys.stdin.readline().strip().lower() in ("y", "yes")
