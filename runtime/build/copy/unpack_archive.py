"""ADD's archives: is a file a tar, compressed with gzip, bzip2, xz or zstd or not at all, and what is in it.

A file is an archive when its first header is one, as BuildKit decides (solver/llbsolver/file/unpack.go); its name means nothing.
It is unpacked with the care that layers get (`runtime.layer.extract`).
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, cast

from runtime.errors import BadContent
from runtime.layer.compression import ByteStream, decompressed
from runtime.layer.extract import extract
from runtime.layer.tree import Tree

_BZIP2 = b"BZh"
_XZ = b"\xfd7zXZ\0"
_BLOCK = 512
_CHECKSUM = slice(148, 156)


def unpacked_archive(location: Path, directory: Path) -> Tree | None:
    """Unpack *location* into the empty *directory*; None when it is no archive. Raises BadContent for a damaged one."""
    with open(os.open(location, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC), "rb") as file:
        try:
            with _plain(file) as stream:
                is_archive = _is_header(_block(stream))
        except BadContent:
            return None
        if not is_archive:
            return None
        file.seek(0)
        with _plain(file) as stream:
            return extract(stream, directory)


def _block(stream: ByteStream) -> bytes:
    block = b""
    while len(block) < _BLOCK and (more := stream.read(_BLOCK - len(block))):
        block += more
    return block


def _is_header(block: bytes) -> bool:
    """Whether a tar header has the checksum that it says (POSIX.1-1988, "ustar"); old writers summed signed bytes."""
    if len(block) < _BLOCK or not block.strip(b"\0"):
        return False
    digits = block[_CHECKSUM].strip(b" \0")
    try:
        said = int(digits, 8)
    except ValueError:
        return False
    blanked = block[:148] + b" " * 8 + block[156:]
    return said in (sum(blanked), sum(byte - 256 if byte > 127 else byte for byte in blanked))


@contextmanager
def _plain(file: BinaryIO) -> Iterator[ByteStream]:
    start = file.read(len(_XZ))
    file.seek(0)
    if start.startswith(_BZIP2):
        import bz2

        with bz2.BZ2File(file) as bzip2:
            yield _Checked(cast(ByteStream, bzip2), "bzip2")
    elif start == _XZ:
        import lzma

        with lzma.LZMAFile(file) as xz:
            yield _Checked(cast(ByteStream, xz), "xz")
    else:
        with decompressed(file) as stream:
            yield stream


class _Checked:
    """A decompressing reader whose own errors become BadContent."""

    def __init__(self, reader: ByteStream, kind: str) -> None:
        self._reader = reader
        self._kind = kind

    def read(self, size: int, /) -> bytes:
        import lzma

        try:
            return self._reader.read(size)
        except (OSError, EOFError, lzma.LZMAError) as error:
            raise BadContent(f"{self._kind} stream is damaged or truncated: {error}") from error
