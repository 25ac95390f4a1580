"""Compressed streams, recognised by their first bytes: media types and file names lie more often than magic numbers.

A layer is gzip, zstd or plain; an archive that ADD unpacks may be bzip2 or xz as well, as for BuildKit.
"""

from __future__ import annotations

import zlib
from typing import Any, BinaryIO, Protocol

from runtime.errors import BadContent

_GZIP = b"\x1f\x8b"
_ZSTD = b"\x28\xb5\x2f\xfd"
_BZIP2 = b"BZh"
_XZ = b"\xfd7zXZ\0"
_CHUNK = 1 << 18


class ByteStream(Protocol):
    def read(self, size: int, /) -> bytes: ...


def decompress(source: ByteStream) -> ByteStream:
    """*source*, at its beginning, as plain bytes. A damaged or truncated stream raises BadContent on reading."""
    start = _read_start(source)
    whole = _Begun(start, source)
    if start.startswith(_GZIP):
        return _Gzip(whole)
    if start.startswith(_ZSTD):
        import zstandard

        frames = _ZstdFrames(whole, zstandard.ZstdDecompressor())
        return _Checked(frames, "zstd", (zstandard.ZstdError, EOFError))
    return whole


def decompress_archive(source: BinaryIO) -> ByteStream:
    """The same for the file of an archive of ADD, which may be bzip2 or xz, too."""
    start = _read_start(source)
    source.seek(0)
    if start.startswith(_BZIP2):
        import bz2

        return _Checked(bz2.BZ2File(source), "bzip2", (OSError, EOFError))
    if start.startswith(_XZ):
        import lzma

        return _Checked(lzma.LZMAFile(source), "xz", (lzma.LZMAError, EOFError))
    return decompress(source)


def is_compressed(source: BinaryIO) -> bool:
    """Whether the file *source* is gzip or zstd; it is at its beginning afterwards."""
    start = _read_start(source)
    source.seek(0)
    return start.startswith((_GZIP, _ZSTD))


def _read_start(source: ByteStream) -> bytes:
    """As many bytes as tell compressions apart: a packet of a network may hold a single one."""
    start = b""
    while len(start) < len(_XZ) and (more := source.read(len(_XZ) - len(start))):
        start += more
    return start


class _Begun:
    """A stream of which *start* was read."""

    def __init__(self, start: bytes, rest: ByteStream) -> None:
        self._start = start
        self._rest = rest

    def read(self, size: int, /) -> bytes:
        if self._start:
            taken, self._start = self._start[:size], self._start[size:]
            return taken
        return self._rest.read(size)


class _Checked:
    """A decompressing reader whose own errors become BadContent."""

    def __init__(self, reader: Any, kind: str, failures: tuple[type[Exception], ...]) -> None:
        self._reader = reader
        self._kind = kind
        self._failures = failures

    def read(self, size: int, /) -> bytes:
        try:
            data: bytes = self._reader.read(size)
        except self._failures as error:
            raise BadContent(f"{self._kind} stream is damaged or truncated: {error}") from error
        return data


class _Gzip:
    """gzip members one after the other. `gzip.GzipFile` would do, but takes trailing garbage for the end."""

    def __init__(self, source: ByteStream) -> None:
        self._source = source
        self._decoder = zlib.decompressobj(wbits=31)
        self._ready = b""
        self._ended = False

    def read(self, size: int, /) -> bytes:
        while len(self._ready) < size and not self._ended:
            self._ready += self._more(max(size - len(self._ready), _CHUNK))
        taken, self._ready = self._ready[:size], self._ready[size:]
        return taken

    def _more(self, size: int) -> bytes:
        # *size* bounds the output, so that a bomb is met by the reader's limits and not by memory.
        if self._decoder.eof:
            # `unconsumed_tail` is not emptied at the end of a member; what follows it is `unused_data`.
            packed = self._next_member(self._decoder.unused_data)
            if not packed:
                self._ended = True
                return b""
            self._decoder = zlib.decompressobj(wbits=31)
        else:
            packed = self._decoder.unconsumed_tail or self._source.read(_CHUNK)
        try:
            plain = self._decoder.decompress(packed, size)
        except zlib.error as error:
            raise BadContent(f"gzip stream is damaged: {error}") from error
        if not packed and not plain and not self._decoder.eof:
            raise BadContent("gzip stream is truncated")
        return plain

    def _next_member(self, packed: bytes) -> bytes:
        """The beginning of another member; empty at the end. Zeros may fill up the last block of a tape or disk."""
        if len(packed) < len(_GZIP):
            packed += self._source.read(_CHUNK)
        if not packed or packed.startswith(_GZIP):
            return packed
        while packed:
            if packed.strip(b"\0"):
                raise BadContent("gzip stream is followed by something else")
            packed = self._source.read(_CHUNK)
        return b""


class _ZstdFrames:
    """zstd frames one after the other, through the `zstandard` package, whose own reader takes a truncated frame for a whole one.

    It decompresses all that it is given, and four bytes can say 128 KiB: little is given at a time, so that a bomb is met by the
    reader's limits and not by memory.
    """

    _FED = 512

    def __init__(self, source: ByteStream, decompressor: Any) -> None:
        self._source = source
        self._decompressor = decompressor
        self._frame = decompressor.decompressobj()
        self._begun = False
        self._packed = b""
        self._at = 0
        self._ready: list[bytes] = []
        self._ended = False

    def read(self, size: int, /) -> bytes:
        have = sum(map(len, self._ready))
        while have < size and not self._ended:
            plain = self._more()
            self._ready.append(plain)
            have += len(plain)
        whole = self._ready[0] if len(self._ready) == 1 else b"".join(self._ready)
        self._ready = [whole[size:]] if len(whole) > size else []
        return whole[:size]

    def _more(self) -> bytes:
        if self._at == len(self._packed):
            self._packed, self._at = self._source.read(_CHUNK), 0
            if not self._packed:
                if self._begun:
                    raise EOFError("it ends in the middle of a frame")
                self._ended = True
                return b""
        fed = self._packed[self._at : self._at + self._FED]
        self._at += len(fed)
        self._begun = True
        plain: bytes = self._frame.decompress(fed)
        if self._frame.eof:
            self._at -= len(self._frame.unused_data)
            self._frame = self._decompressor.decompressobj()
            self._begun = False
        return plain
