"""Wakes a sweep when a file that it follows has grown: a trial's journal (it may have left room, or taken its GPU), say.

Where nothing wakes it, the sweep looks four times a second all the same.
"""

from __future__ import annotations

import select
from contextlib import suppress
from pathlib import Path

from runtime.kernel.inotify import MODIFY, Inotify


class FileWatch:
    """Files, and *poller*, which they wake."""

    def __init__(self, poller: select.poll) -> None:
        self._inotify = Inotify()
        poller.register(self._inotify.fileno(), select.POLLIN)

    def add(self, path: Path) -> None:
        with suppress(OSError):  # it may not be there yet, or any more
            self._inotify.watch(path, MODIFY)

    def remove(self, path: Path) -> None:
        self._inotify.unwatch(path)

    def woke(self, fd: int) -> bool:
        """Whether *fd*, which poll(2) named, is ours; then it is read."""
        if fd != self._inotify.fileno():
            return False
        self._inotify.read()
        return True
