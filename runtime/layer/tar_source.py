"""The bytes of a tar stream as `extract.py` takes them: headers one way, contents into files the other. What is not a file's
content goes into the record of the stream, if one is kept."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator

from runtime.errors import BadContent
from runtime.layer.compression import ByteStream
from runtime.layer.file_copy import write_all
from runtime.layer.read_ahead import PIECE
from runtime.layer.stream_record import StreamRecorder
from runtime.layer.tar_format import BLOCK
from runtime.layer.tar_sparse import Segments

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
