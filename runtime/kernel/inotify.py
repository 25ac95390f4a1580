"""Wake up when files change (inotify(7)), without threads: a descriptor for poll(2), and what happened.

A user has 128 instances and so many watches. Where they are used up, whoever waits is not woken, and has to look now and then as
on a network file system: that is no reason to do nothing at all.
"""

from __future__ import annotations

import errno
import os
import struct
from contextlib import suppress
from pathlib import Path

from runtime.kernel import libc
from runtime.light_dataclasses import dataclass

MODIFY = 0x2
CLOSE_WRITE = 0x8
MOVED_TO = 0x80
CREATE = 0x100
QUEUE_OVERFLOW = 0x4000

_EVENT = struct.Struct("iIII")


@dataclass(frozen=True, slots=True)
class Event:
    """Something happened to *path*: the watched path, or the entry of a watched directory. *mask* holds the bits above."""

    path: Path
    mask: int


class Inotify:
    """Watches on paths. A context manager; `fileno()` for poll."""

    def __init__(self) -> None:
        self.misses = False
        """Whether there may be changes that wake nobody: the kernel has no instance, or no watch, left for this user."""
        self._is_blind = False
        self._watched: dict[int, Path] = {}
        try:
            self._fd = libc.inotify_init()
        except OSError as error:
            if error.errno != errno.EMFILE:
                raise
            self._fd = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)  # never readable
            self._is_blind = self.misses = True

    def fileno(self) -> int:
        return self._fd

    def watch(self, path: Path, mask: int = MODIFY | CLOSE_WRITE | MOVED_TO | CREATE) -> None:
        """Watch a file, or the entries of a directory. Watching again changes the mask."""
        if self._is_blind:
            return
        try:
            self._watched[libc.inotify_add_watch(self._fd, path, mask)] = path
        except OSError as error:
            if error.errno != errno.ENOSPC:
                raise
            self.misses = True

    def unwatch(self, path: Path) -> None:
        """Watch *path* no longer. One that is gone has ended its watch itself."""
        for watch in [watch for watch, watched in self._watched.items() if watched == path]:
            del self._watched[watch]
            with suppress(OSError):
                libc.inotify_rm_watch(self._fd, watch)

    def read(self) -> list[Event]:
        """What happened since the last call; empty when nothing did. After an overflow every watched path is reported once."""
        try:
            data = os.read(self._fd, 1 << 16)
        except BlockingIOError:
            return []
        events: list[Event] = []
        offset = 0
        while offset < len(data):
            watch, mask, _cookie, length = _EVENT.unpack_from(data, offset)
            name = data[offset + _EVENT.size : offset + _EVENT.size + length].rstrip(b"\0")
            offset += _EVENT.size + length
            if mask & QUEUE_OVERFLOW:
                events.extend(Event(path, MODIFY) for path in self._watched.values())
            elif watch in self._watched:
                path = self._watched[watch]
                events.append(Event(path / os.fsdecode(name) if name else path, mask))
        return events

    def close(self) -> None:
        os.close(self._fd)

    def __enter__(self) -> Inotify:
        return self

    def __exit__(self, *_failure: object) -> None:
        self.close()
