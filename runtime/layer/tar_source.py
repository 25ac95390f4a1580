"""The bytes of a tar stream as `extract.py` takes them: headers one way, contents into files the other. What is not a file's
content goes into the record of the stream, if one is kept.

A stream is read in a thread of its own, a few pieces ahead, and hashed there: decompressing and hashing leave the interpreter
free (zlib, hashlib and zstd release its lock), so they cost the reader next to nothing on a second processor.
"""

from __future__ import annotations

import hashlib
import os
import queue
import threading
from collections.abc import Iterator
from types import TracebackType

from runtime.errors import BadContent
from runtime.layer.compression import ByteStream
from runtime.layer.stream_record import StreamRecorder
from runtime.layer.tar_format import BLOCK
from runtime.layer.tar_sparse import Segments
from runtime.whole_file import write_all

_MOST_PADDING = 64 << 20
"""Archives are filled up to whole tape blocks, a few kilobytes; zeros without end cost a bomb nothing."""


class TarSource:
    """*stream*, read in large pieces."""

    def __init__(self, stream: ByteStream, record: StreamRecorder | None) -> None:
        self._stream = stream
        self._record = record
        self._piece = b""
        self._at = 0

    def raw(self, size: int) -> bytes:
        """The next *size* bytes, which are no content of a file."""
        start, end = self._at, self._at + size
        if end <= len(self._piece):
            self._at = end
            taken = self._piece[start:end]
        else:
            taken = b"".join(self._pieces(size))
        if self._record is not None:
            self._record.raw(taken)
        return taken

    def expect_only_zeros(self) -> None:
        """Take the rest of the stream: some readers go on behind the end marker, and an archive there would be another
        image to them."""
        rest = self._piece[self._at :]
        padding = 0
        while rest or (rest := self._stream.read(PIECE)):
            padding += len(rest)
            if rest.strip(b"\0"):
                raise BadContent("tar stream goes on behind its end marker")
            if padding > _MOST_PADDING:
                raise BadContent(f"tar stream has more than {_MOST_PADDING} zeros behind its end marker")
            if self._record is not None:
                self._record.raw(rest)
            rest = b""
        self._piece, self._at = b"", 0

    def write_whole(self, descriptor: int, path: str, size: int) -> str:
        """The next *size* bytes into the file, which is *path* in the record. Returns their sha256."""
        hasher = hashlib.sha256()
        for piece in self._pieces(size):
            hasher.update(piece)
            write_all(descriptor, piece)
        if self._record is not None and size:
            self._record.whole(path, size)
        self._skip_padding(size)
        return hasher.hexdigest()

    def write_parts(self, descriptor: int, path: str, size: int, segments: Segments) -> str:
        """The stored parts of a sparse file of *size* bytes, each to its place. Returns the sha256 of the whole file."""
        hasher = hashlib.sha256()
        position = stored = 0
        for offset, length in segments:
            _hash_zeros(hasher, offset - position)
            os.lseek(descriptor, offset, os.SEEK_SET)
            for piece in self._pieces(length):
                hasher.update(piece)
                write_all(descriptor, piece)
            if self._record is not None:
                self._record.part(path, offset, length)
            position, stored = offset + length, stored + length
        _hash_zeros(hasher, size - position)
        os.ftruncate(descriptor, size)
        self._skip_padding(stored)
        return hasher.hexdigest()

    def _skip_padding(self, size: int) -> None:
        if size % BLOCK:
            self.raw(-size % BLOCK)

    def _pieces(self, size: int) -> Iterator[memoryview]:
        while size:
            if self._at == len(self._piece):
                self._piece, self._at = self._stream.read(PIECE), 0
                if not self._piece:
                    raise BadContent("tar stream is truncated")
            taken = memoryview(self._piece)[self._at : self._at + size]
            self._at += len(taken)
            size -= len(taken)
            yield taken


_ZEROS = bytes(1 << 16)


def _hash_zeros(hasher: hashlib._Hash, count: int) -> None:
    while count > 0:
        hasher.update(memoryview(_ZEROS)[:count])
        count -= len(_ZEROS)


PIECE = 1 << 18
_PIECES_AHEAD = 8


class ReadAhead:
    """*stream* in pieces. To be used in a `with`; the thread has ended when that ends."""

    def __init__(self, stream: ByteStream) -> None:
        self._stream = stream
        self._ready: queue.Queue[bytes | BaseException] = queue.Queue(_PIECES_AHEAD)
        self._stop = threading.Event()
        self._hasher = hashlib.sha256()
        self._size = 0
        self._ended = False
        self._thread = threading.Thread(target=self._run, name="read-ahead", daemon=True)

    def __enter__(self) -> ReadAhead:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None) -> None:
        self._stop.set()
        while self._thread.is_alive():
            # The thread may wait for room in the queue.
            while not self._ready.empty():
                self._ready.get_nowait()
            self._thread.join(0.01)

    def read(self, size: int = PIECE, /) -> bytes:
        """The next piece, whatever its *size*; empty at the end. Raises what reading raised."""
        if self._ended:
            return b""
        piece = self._ready.get()
        if isinstance(piece, BaseException):
            self._ended = True
            raise piece
        self._ended = not piece
        return piece

    @property
    def digest(self) -> str:
        """Of the whole stream; to be asked for when it was read to its end."""
        assert self._ended
        return f"sha256:{self._hasher.hexdigest()}"

    @property
    def size(self) -> int:
        return self._size

    def _run(self) -> None:
        try:
            while not self._stop.is_set():
                piece = self._stream.read(PIECE)
                self._hasher.update(piece)
                self._size += len(piece)
                self._ready.put(piece)
                if not piece:
                    return
        except BaseException as error:
            self._ready.put(error)
