"""Files that are mostly holes (memory maps, LMDB): copied and told apart by the data that they have, not by their length."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from runtime.kernel.file_data import copy_data, data_extents

HOLES_MAX = 1 << 30
"""Bytes in holes from which on a file, if they are most of it, is called sparse. What is smaller is read in a second."""

_BLOCK = 1 << 16


def data_of_sparse(file: Path) -> int | None:
    """Bytes of data in a sparse file; None of any other."""
    status = os.stat(file, follow_symlinks=False)
    if status.st_size < HOLES_MAX or 512 * status.st_blocks > status.st_size // 2:
        return None
    with file.open("rb") as opened:
        data = sum(end - start for start, end in data_extents(opened.fileno()))
    return data if status.st_size - data >= max(HOLES_MAX, data) else None


def digest_output(file: Path) -> str:
    """The file's sha256; of a sparse one, `sparse-sha256:…` over its length and its blocks of 64 KiB that are not all zeros, each
    with its place: the same for the same content, wherever the holes are."""
    with file.open("rb") as opened:
        if data_of_sparse(file) is None:
            return f"sha256:{hashlib.file_digest(opened, 'sha256').hexdigest()}"
        fd = opened.fileno()
        hashed = hashlib.sha256(b"%d" % os.fstat(fd).st_size)
        done = 0
        for start, end in data_extents(fd):
            for place in range(max(done, start - start % _BLOCK), end, _BLOCK):
                done = place + _BLOCK
                block = os.pread(fd, _BLOCK, place)
                if block.strip(b"\0"):
                    hashed.update(b"\n%d " % place + block)
        return f"sparse-sha256:{hashed.hexdigest()}"


def copy_sparse(source: Path, target: Path) -> None:
    """Make *target* a copy of *source* with the same holes."""
    with source.open("rb") as read, target.open("wb") as written:
        copy_data(read.fileno(), written.fileno())
