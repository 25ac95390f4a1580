"""What it takes to give a tar stream again, byte for byte, from the directory that was made of it (the idea is tar-split's).

A record is a zlib stream. In it, after a first line with the format's name, one item after the other:

    R length bytes             bytes as they were: headers, extensions, padding, the end marker and what is behind it
    F size length path         the whole content of a file
    P offset size length path  a part of a file (the stored parts of a sparse one)

Numbers are little-endian, lengths 4 bytes, offsets and sizes 8. A layer that was imported has its record beside it, which is how
it keeps the digest that it came with; one that was made here needs none, since `archive.py` has one form for each tree.
"""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from runtime.errors import StoreError
from runtime.layer.tree import printable

_FORMAT = b"launch tar stream 1\n"
_BUFFERED = 1 << 18
_LONGEST_RAW = 1 << 24
_CHUNK = 1 << 18
_NUMBER = struct.Struct("<I")
_WHOLE = struct.Struct("<QI")
_PART = struct.Struct("<QQI")


class StreamRecorder:
    """Writes a record to *file*. `close` completes it; one that isn't complete is refused on reading."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._packer = zlib.compressobj(1)
        self._raw: list[bytes] = []
        self._raw_size = 0
        self._pending = [_FORMAT]
        self._pending_size = 0

    def raw(self, content: bytes) -> None:
        """Bytes that are no content of a file."""
        self._raw.append(content)
        self._raw_size += len(content)
        if self._raw_size > _BUFFERED:
            self._flush_raw()

    def whole(self, path: str, size: int) -> None:
        """Here the content of file *path* stood."""
        name = os.fsencode(path)
        self._item(b"F" + _WHOLE.pack(size, len(name)) + name)

    def part(self, path: str, offset: int, size: int) -> None:
        """Here *size* bytes of the file *path* stood, which begin at *offset* of it."""
        name = os.fsencode(path)
        self._item(b"P" + _PART.pack(offset, size, len(name)) + name)

    def close(self) -> None:
        self._flush_raw()
        self._file.write(self._packer.compress(b"".join(self._pending)))
        self._file.write(self._packer.flush())
        self._file.flush()

    def _item(self, item: bytes) -> None:
        self._flush_raw()
        self._pending.append(item)
        self._pending_size += len(item)

    def _flush_raw(self) -> None:
        if self._raw:
            self._pending.append(b"R" + _NUMBER.pack(self._raw_size))
            self._pending += self._raw
            self._pending_size += self._raw_size
            self._raw, self._raw_size = [], 0
        if self._pending_size > _BUFFERED:
            self._file.write(self._packer.compress(b"".join(self._pending)))
            self._pending, self._pending_size = [], 0


def replay(record: Path, root: Path) -> Iterator[bytes]:
    """The stream of *record* with the contents below *root*. Raises StoreError when either is damaged."""
    try:
        with open(record, "rb") as file:
            unpacked = _Unpacked(file, record)
            if unpacked.take(len(_FORMAT)) != _FORMAT:
                raise StoreError(f"`{record}` is no record of a tar stream that is understood here")
            while kind := unpacked.take_kind():
                yield from _item(kind, unpacked, root)
    except OSError as error:
        raise StoreError(f"cannot read `{printable(error.filename or str(record))}`: {error.strerror}") from error


def _item(kind: bytes, unpacked: _Unpacked, root: Path) -> Iterator[bytes]:
    if kind == b"R":
        (size,) = _NUMBER.unpack(unpacked.take(_NUMBER.size))
        yield unpacked.take(size)
    elif kind == b"F":
        size, length = _WHOLE.unpack(unpacked.take(_WHOLE.size))
        yield from _content(root, os.fsdecode(unpacked.take(length)), 0, size, whole=True)
    elif kind == b"P":
        offset, size, length = _PART.unpack(unpacked.take(_PART.size))
        yield from _content(root, os.fsdecode(unpacked.take(length)), offset, size, whole=False)
    else:
        raise unpacked.damaged()


def _content(root: Path, path: str, offset: int, size: int, *, whole: bool) -> Iterator[bytes]:
    location = os.path.join(root, path)
    descriptor = os.open(location, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        end = offset + size
        while offset < end and (chunk := os.pread(descriptor, min(_CHUNK, end - offset), offset)):
            offset += len(chunk)
            yield chunk
        if offset < end or (whole and os.fstat(descriptor).st_size != size):
            raise StoreError(f"`{printable(location)}` doesn't have the {size} bytes that the layer's record says")
    finally:
        os.close(descriptor)


class _Unpacked:
    """The items of a record, decompressed as they are asked for."""

    def __init__(self, file: BinaryIO, path: Path) -> None:
        self._file = file
        self._path = path
        self._decoder = zlib.decompressobj()
        self._ready = b""
        self._at = 0

    def take(self, size: int) -> bytes:
        if size > _LONGEST_RAW or not self._have(size):
            raise self.damaged()
        self._at += size
        return self._ready[self._at - size : self._at]

    def take_kind(self) -> bytes:
        """The letter of the next item; empty at the end."""
        if self._have(1):
            return self.take(1)
        if not self._decoder.eof or self._decoder.unused_data or self._file.read(1):
            raise self.damaged()
        return b""

    def _have(self, size: int) -> bool:
        """Whether *size* more bytes are there."""
        while len(self._ready) - self._at < size:
            packed = b"" if self._decoder.eof else self._decoder.unconsumed_tail or self._file.read(_CHUNK)
            if not packed:
                return False
            try:
                more = self._decoder.decompress(packed, _CHUNK)
            except zlib.error as error:
                raise self.damaged() from error
            self._ready = self._ready[self._at :] + more
            self._at = 0
        return True

    def damaged(self) -> StoreError:
        return StoreError(f"the record of a tar stream `{self._path}` is damaged")
