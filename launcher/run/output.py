"""A run's output read back in the order in which it came, both streams together, from the start or as it grows."""

from __future__ import annotations

import errno
import os
from collections import deque
from collections.abc import Iterator

from runtime.container.logs import RECORD
from runtime.light_dataclasses import dataclass
from runtime.state_dir import RunDir

_CHUNK = 1 << 16
_MOST_RECORDS = 1 << 16


@dataclass(frozen=True, slots=True)
class Piece:
    """Bytes of one stream that came at one time."""

    stream: int
    """0 stdout, 1 stderr."""
    at: float
    """Unix seconds."""
    data: bytes
    begins_line: bool
    """Whether its first byte begins a line of its stream."""


class Output:
    """The output of a run; `new_pieces` gives what was added since it was last asked."""

    def __init__(self, run_dir: RunDir) -> None:
        self._logs = tuple(_open(path) for path in (run_dir.stdout, run_dir.stderr))
        self._index = _open(run_dir.output_index)
        self._index_at = 0
        self._done = [0, 0]
        self._begins_line = [True, True]
        self.left_out = 0
        """Bytes that were given up since the log is bounded."""
        self.skipped = False

    def new_pieces(self, *, since: float = 0.0, last_bytes: int | None = None) -> Iterator[Piece]:
        """In order. Nothing is read of what came before *since*, nor of what lies further back than about *last_bytes*."""
        found = [os.fstat(fd) for fd in self._logs]
        sizes = [status.st_size for status in found]
        begin = 0 if last_bytes is None else sum(sizes) - last_bytes
        # The index is read after the sizes: what it does not cover then is of one stream, and the latest of all.
        while records := self._records():
            for stamp, end in records:
                at, stream = (stamp >> 1) / 1e6, stamp & 1
                if at < since or (end > self._done[stream] and sum(self._done) - self._done[stream] + end < begin):
                    self._skip(stream, end)
                else:
                    yield from self._until(stream, end, at)
        for stream, size in enumerate(sizes):
            at = found[stream].st_mtime
            if at < since:
                self._skip(stream, size)
            else:
                yield from self._until(stream, size, at)

    def _records(self) -> list[tuple[int, int]]:
        content = os.pread(self._index, _MOST_RECORDS * RECORD.size, self._index_at)
        whole = len(content) - len(content) % RECORD.size
        self._index_at += whole
        return [(stamp, end) for stamp, end in RECORD.iter_unpack(content[:whole]) if stamp]

    def _skip(self, stream: int, end: int) -> None:
        if end > self._done[stream]:
            self.skipped = True
            self._done[stream] = end
            self._begins_line[stream] = os.pread(self._logs[stream], 1, end - 1) in (b"\n", b"")

    def _until(self, stream: int, end: int, at: float) -> Iterator[Piece]:
        log = self._logs[stream]
        while self._done[stream] < end:
            start, stop = self._kept(stream, self._done[stream], end)
            data = os.pread(log, min(_CHUNK, stop - start), start)
            if start != self._kept(stream, start, end)[0]:
                continue  # given up while it was read: those were zeros
            if start != self._done[stream]:
                self.left_out += start - self._done[stream]
                self._begins_line[stream] = False
            self._done[stream] = start + len(data) if data else end
            if data:
                yield Piece(stream, at, data, self._begins_line[stream])
                self._begins_line[stream] = data.endswith(b"\n")

    def _kept(self, stream: int, start: int, end: int) -> tuple[int, int]:
        """The next bytes from *start* on that are still there, or *end* twice."""
        try:
            first = min(end, os.lseek(self._logs[stream], start, os.SEEK_DATA))
            return first, min(end, os.lseek(self._logs[stream], first, os.SEEK_HOLE))
        except OSError as error:
            # ENXIO: nothing follows; EINVAL: a file system that doesn't know holes.
            return (end, end) if error.errno == errno.ENXIO else (start, end)


def _open(path: os.PathLike[str]) -> int:
    """Made if it is missing, since it may grow; where that can't be (a disk that is read-only) nothing will."""
    try:
        return os.open(path, os.O_RDONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        if error.errno not in (errno.EROFS, errno.EACCES) or os.path.exists(path):
            raise
        return os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)


def lines_from(pieces: Iterator[Piece], count: int) -> list[Piece]:
    """The pieces that hold the last *count* lines of all, both streams counted together; a line counts where it begins."""
    kept: deque[Piece] = deque()
    begun: deque[int] = deque()
    total = 0
    for piece in pieces:
        starts = piece.begins_line + piece.data.count(b"\n", 0, len(piece.data) - 1)
        kept.append(piece)
        begun.append(starts)
        total += starts
        while kept and total - begun[0] >= count:
            # Also what only goes on with a line that is too old.
            total -= begun.popleft()
            kept.popleft()
    return list(_cut(kept, begun, total - count)) if count else []


def _cut(kept: deque[Piece], begun: deque[int], too_many: int) -> Iterator[Piece]:
    """*kept* without the first *too_many* lines, and without what goes on with a line that began before."""
    whole = [False, False]
    for piece, starts in zip(kept, begun, strict=True):
        at = 0 if piece.begins_line else None
        if at is None and not whole[piece.stream]:
            newline = piece.data.find(b"\n", 0, len(piece.data) - 1)
            if newline < 0:
                continue
            at = newline + 1
        at = at or 0
        while too_many > 0 and starts > 0:
            too_many -= 1
            starts -= 1
            newline = piece.data.find(b"\n", at, len(piece.data) - 1)
            at = len(piece.data) if newline < 0 else newline + 1
        if at < len(piece.data):
            whole[piece.stream] = True
            yield Piece(piece.stream, piece.at, piece.data[at:], True if at else piece.begins_line)
