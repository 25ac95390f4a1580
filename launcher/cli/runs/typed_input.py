"""What is typed at our terminal goes to the program of a run that has one of its own (`launch run -it`), while we watch it.

What the program says comes as any run's output does: from its log. So whoever leaves takes nothing along, and the next who
watches types where the last one did.
"""

from __future__ import annotations

import os
import select
import sys
from contextlib import ExitStack, suppress
from pathlib import Path

from launcher.cli.terminal import raw_mode
from launcher.journal.run_journal import Follower
from runtime.container import pty
from runtime.container.exec_inside import program_terminal
from runtime.errors import ContainerError
from runtime.state_dir import RunDir

_CHUNK = 1 << 10
_LEAVING = b"\x10\x11"
"""Ctrl-P Ctrl-Q, as Docker has it."""


class TypedInput:
    """A context manager. Our terminal is raw while the program runs, and what it was before and after."""

    def __init__(self, run_dir: RunDir) -> None:
        self._init_socket: Path = run_dir.init_socket
        self._journal = Follower(run_dir.journal)
        self._stdin = sys.stdin.fileno()
        self._held = ExitStack()
        self._terminal: int | None = None
        self._size = (0, 0)
        self._last = b""

    @property
    def fd(self) -> int | None:
        """What to poll for something typed; None while the program takes nothing."""
        if self._terminal is None or not select.select([], [self._terminal], [], 0)[1]:
            return None
        return self._stdin

    def look(self) -> None:
        """Find the program's terminal when it starts, tell it our size, let it go when the program has ended."""
        run = self._journal.look()
        if not run.has_started or run.is_over:
            self._let_go()
        elif self._terminal is None:
            self._take_hold()
        if self._terminal is not None and (size := pty.size_of(self._stdin)) != self._size:
            pty.set_size(self._terminal, *size)
            self._size = size

    def pass_on(self) -> bool:
        """Give the program what was typed. False: that was Ctrl-P Ctrl-Q."""
        assert self._terminal is not None
        with suppress(OSError):  # either terminal is gone: we shall hear of it in another way
            typed = os.read(self._stdin, _CHUNK)
            if (self._last + typed).endswith(_LEAVING):
                return False
            self._last = typed[-1:]
            os.write(self._terminal, typed)
        return True

    def _take_hold(self) -> None:
        with suppress(ContainerError):  # it has just ended
            self._terminal = program_terminal(self._init_socket)
            self._held.callback(os.close, self._terminal)
            self._held.enter_context(raw_mode(self._stdin))

    def _let_go(self) -> None:
        self._terminal, self._size = None, (0, 0)
        self._held.close()

    def __enter__(self) -> TypedInput:
        return self

    def __exit__(self, *_failure: object) -> None:
        self._let_go()
