"""Compressed streams, recognised by their first bytes: gzip, zstd, or none. Media types lie more often than magic numbers.

zstd is read through Python's own module (3.14), the `zstandard` package or the host's `zstd`, whichever is there.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, BinaryIO, Protocol, cast

from runtime.errors import BadContent, Unsupported

if TYPE_CHECKING:
    import subprocess

_GZIP = b"\x1f\x8b"
_ZSTD = b"\x28\xb5\x2f\xfd"
_CHUNK = 1 << 18


class ByteStream(Protocol):
    def read(self, size: int, /) -> bytes: ...


@contextmanager
def decompressed(source: BinaryIO) -> Iterator[ByteStream]:
    """*source*, a seekable file at its beginning, as plain bytes. A damaged or truncated stream raises BadContent on reading."""
    start = source.read(4)
    source.seek(-len(start), 1)
    if start.startswith(_GZIP):
        yield _Gzip(source)
    elif start == _ZSTD:
        with _zstd(source) as plain:
            yield plain
    else:
        yield source


class _Gzip:
    """gzip members one after the other. `gzip.GzipFile` would do, but takes trailing garbage for the end."""

    def __init__(self, source: BinaryIO) -> None:
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


@contextmanager
def _zstd(source: BinaryIO) -> Iterator[ByteStream]:
    opened = _python_zstd(source)
    if opened is not None:
        yield opened
        return
    with _host_zstd(source) as plain:
        yield plain


class _Zstd:
    """A zstd reader whose own error type becomes BadContent."""

    def __init__(self, reader: ByteStream, failures: tuple[type[Exception], ...]) -> None:
        self._reader = reader
        self._failures = failures

    def read(self, size: int, /) -> bytes:
        try:
            return self._reader.read(size)
        except self._failures as error:
            raise BadContent(f"zstd stream is damaged or truncated: {error}") from error


def _python_zstd(source: BinaryIO) -> ByteStream | None:
    import importlib

    for name in ("compression.zstd", "backports.zstd"):
        try:
            module = importlib.import_module(name)
        except ImportError:
            continue
        return _Zstd(cast(ByteStream, module.ZstdFile(source)), (module.ZstdError, EOFError))
    try:
        module = importlib.import_module("zstandard")
    except ImportError:
        return None
    return _Zstd(_ZstdFrames(source, module.ZstdDecompressor()), (module.ZstdError, EOFError))


class _ZstdFrames:
    """zstd frames one after the other, through the `zstandard` package, whose own reader takes a truncated frame for a whole one.

    It decompresses all that it is given, and four bytes can say 128 KiB: little is given at a time, so that a bomb is met by the
    reader's limits and not by memory.
    """

    _FED = 512

    def __init__(self, source: BinaryIO, decompressor: Any) -> None:
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


@contextmanager
def _host_zstd(source: BinaryIO) -> Iterator[ByteStream]:
    """The host's `zstd`, fed with a descriptor: it sees bytes of the layer on stdin and nothing else."""
    import os
    import shutil
    import subprocess
    import tempfile

    program = shutil.which("zstd")
    if program is None:
        raise Unsupported(
            "the image has zstd layers and nothing here reads them",
            hint="install the Python package `zstandard` beside launch, or the program `zstd`",
        )
    with tempfile.TemporaryFile() as copy:
        # A part of a larger file has no descriptor of its own that ends where the part ends.
        shutil.copyfileobj(source, copy, _CHUNK)
        copy.flush()
        os.lseek(copy.fileno(), 0, os.SEEK_SET)
        with subprocess.Popen(
            [program, "-dcq"],
            stdin=copy.fileno(),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={"PATH": "/usr/bin:/bin", "LC_ALL": "C"},
        ) as process:
            try:
                yield _ProcessOutput(process)
            finally:
                process.kill()


class _ProcessOutput:
    """stdout of a decompressor; its failure shows at the end of the stream."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process

    def read(self, size: int, /) -> bytes:
        assert self._process.stdout is not None
        data = self._process.stdout.read(size)
        if not data and size and self._process.wait() != 0:
            assert self._process.stderr is not None
            words = self._process.stderr.read(500).decode(errors="replace").strip()
            raise BadContent(f"zstd stream is damaged or truncated: {words}")
        return data
