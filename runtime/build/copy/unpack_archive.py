"""ADD's archives: is a file a tar, compressed with gzip, bzip2, xz or zstd or not at all, and what is in it.

A file is an archive when its first header is one, as BuildKit decides (solver/llbsolver/file/unpack.go); its name means nothing.
It is unpacked with the care that layers get (`runtime.layer.extract`).
"""

from __future__ import annotations

import os
from pathlib import Path

from runtime.errors import BadContent
from runtime.layer.compression import ByteStream, archive_decompressed
from runtime.layer.extract import extract
from runtime.layer.tree import Tree

_BLOCK = 512
_CHECKSUM = slice(148, 156)


def unpacked_archive(location: Path, directory: Path) -> Tree | None:
    """Unpack *location* into the empty *directory*; None when it is no archive. Raises BadContent for a damaged one."""
    with open(os.open(location, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC), "rb") as file:
        try:
            is_archive = _is_header(_block(archive_decompressed(file)))
        except BadContent:
            return None
        if not is_archive:
            return None
        file.seek(0)
        return extract(archive_decompressed(file), directory)


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
