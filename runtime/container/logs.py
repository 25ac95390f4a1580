"""A container's output on disk: a file for each stream, and an index that says in which order and when it came.

The index has a record of 16 bytes for each change of stream and each 10 ms: when, which stream, and how long that stream's file
was then. Since it names the end and not the length, a record that a killed writer owed is made good by the next one.

Files are bounded without being moved: beyond `kept_bytes` the middle is given back to the disk as a hole (fallocate(2)), so every
reader's offset and every descriptor stays good. What is kept is the beginning and the end.

The kernel moves a pipe's bytes to the file (splice(2)): those that a killed writer had not written are still in the pipe, for the
next writer. A read(2) before the write(2) would lose them.
"""

from __future__ import annotations

import errno
import os
import select
import struct
import time
from contextlib import suppress

from runtime.kernel import libc
from runtime.light_dataclasses import dataclass, field

_CHUNK = 1 << 16
_APART_US = 10_000
_BLOCK = 1 << 12
_PUNCHED_AT_ONCE = 1 << 24
_HEAD_SHARE = 16
"""One part in so many of what is kept is the beginning."""

STDOUT, STDERR = 0, 1

RECORD = struct.Struct("<QQ")
"""Microseconds since 1970, shifted left by one, with the stream in the lowest bit; the stream's length after it."""
_INDEX_KEPT = 1 << 26


@dataclass(frozen=True, slots=True)
class LogFiles:
    """Descriptors. One process writes at a time: the supervisor, or init while there is none."""

    stdout: int
    stderr: int
    """Both not in append mode, which splice(2) refuses."""
    index: int
    """In append mode."""
    kept_bytes: int | None = None
    """How much of each stream is kept; None = all."""

    def descriptors(self) -> tuple[int, ...]:
        return self.stdout, self.stderr, self.index


@dataclass(slots=True)
class OutputLog:
    """Writes to `LogFiles`."""

    files: LogFiles
    streams: tuple[_Bounded, _Bounded] = field(init=False)
    index: _Bounded = field(init=False)
    owed: bytes = b""
    """A record that is not written yet."""
    last: tuple[int, int] = (-1, 0)
    """Stream and time of the last written record."""

    def __post_init__(self) -> None:
        kept = self.files.kept_bytes
        self.streams = _Bounded(self.files.stdout, kept), _Bounded(self.files.stderr, kept)
        self.index = _Bounded(self.files.index, None if kept is None else _INDEX_KEPT)
        # A record that a full disk cut off would shift all that follow.
        os.ftruncate(self.files.index, self.index.end - self.index.end % RECORD.size)

    def copy(self, stream: int, pipe: int) -> bool:
        """What is in *pipe* now. False at its end."""
        now = time.time_ns() // 1000
        if stream != self.last[0]:
            self.flush()
        log = self.streams[stream]
        if not log.copy(pipe):
            return False
        self.owed = RECORD.pack(now << 1 | stream, log.end)
        if stream != self.last[0] or now - self.last[1] >= _APART_US:
            self.flush()
            self.last = stream, now
        return True

    def flush(self) -> None:
        """Write the record that is owed."""
        if self.owed:
            self.index.append(self.owed, whole=True)
            self.owed = b""


class _Bounded:
    """A file that only grows, and keeps its beginning and its end."""

    def __init__(self, fd: int, kept: int | None) -> None:
        self.end = os.fstat(fd).st_size
        self._fd = fd
        self._head = 0 if kept is None else kept // _HEAD_SHARE // _BLOCK * _BLOCK
        self._tail = None if kept is None else kept - self._head
        self._hole_end = self._head

    def copy(self, pipe: int) -> bool:
        """splice(2) what is in *pipe* to the end of the file. False at the pipe's end."""
        # Another placement of the run may have appended meanwhile, on a file system that both share.
        self.end = os.lseek(self._fd, 0, os.SEEK_END)
        try:
            moved = os.splice(pipe, self._fd, _CHUNK, offset_dst=self.end, flags=os.SPLICE_F_NONBLOCK)
        except BlockingIOError:
            raise
        except OSError:
            return self._copy_through_memory(pipe)
        self.end += moved
        self._bound()
        return moved > 0

    def _copy_through_memory(self, pipe: int) -> bool:
        """For what can't be spliced: a terminal, some file systems, a full disk, on which `append` drops it."""
        try:
            chunk = os.read(pipe, _CHUNK)
        except OSError as error:
            if error.errno != errno.EIO:  # the end of a terminal
                raise
            return False
        self.append(chunk)
        return bool(chunk)

    def append(self, data: bytes, *, whole: bool = False) -> None:
        """write(2) until all is written. A full disk must not end a training: what does not fit is dropped; with *whole*, all
        of it."""
        view = memoryview(data)
        before = self.end
        while view:
            try:
                written = os.pwrite(self._fd, view, self.end)
            except OSError:
                if whole and self.end != before:
                    with suppress(OSError):
                        os.ftruncate(self._fd, before)
                    self.end = before
                break
            self.end += written
            view = view[written:]
        self._bound()

    def _bound(self) -> None:
        if self._tail is not None and self.end - self._hole_end > self._tail + min(_PUNCHED_AT_ONCE, self._tail):
            self._punch(self._tail)

    def _punch(self, tail: int) -> None:
        hole_end = (self.end - tail) // _BLOCK * _BLOCK
        try:
            libc.fallocate(self._fd, libc.FALLOC_PUNCH_HOLE, self._hole_end, hole_end - self._hole_end)
        except OSError:
            # EOPNOTSUPP: a file system without holes (NFS before 4.2). Then everything is kept.
            self._tail = None
            return
        self._hole_end = hole_end


class LogPump:
    """Copies pipes (read ends of stdout and stderr) to the logs. Whoever pumps is their only reader at that time."""

    def __init__(self, pipes: tuple[int, int], log: OutputLog) -> None:
        self._streams = {pipe: stream for stream, pipe in enumerate(pipes)}
        self._log = log

    @property
    def open_pipes(self) -> tuple[int, ...]:
        return tuple(self._streams)

    def pump(self, pipe: int) -> bool:
        """Copy what is there; the pipe must be readable, or not block. False at its end."""
        alive = self._log.copy(self._streams[pipe], pipe)
        if not alive:
            del self._streams[pipe]
        return alive

    def drain(self) -> None:
        """Copy everything that is in the pipes now."""
        poller = select.poll()
        for pipe in self._streams:
            poller.register(pipe, select.POLLIN)
        while ready := poller.poll(0):
            for pipe, _event in ready:
                if not self.pump(pipe):
                    poller.unregister(pipe)
        self.flush()

    def flush(self) -> None:
        """What was written so far is in the index."""
        self._log.flush()
