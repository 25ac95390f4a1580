"""What a disk that refuses is said to be."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from runtime.errors import StoreError
from runtime.store.failures import disk_errors, is_full, room_words, store_errors


@pytest.mark.parametrize(
    ("number", "hint"),
    [
        pytest.param(errno.ENOSPC, "the disk is full; `launch gc` frees", id="full"),
        pytest.param(errno.EDQUOT, "the disk quota is used up; `launch gc` frees", id="quota"),
        pytest.param(errno.EROFS, "the file system is read-only", id="read-only"),
        pytest.param(errno.EIO, "the disk has errors", id="broken"),
    ],
)
def test_what_the_disk_is_to_blame_for_is_named_with_a_way_out(tmp_path: Path, number: int, hint: str) -> None:
    words = os.strerror(number).lower()
    with (
        pytest.raises(StoreError, match=f"cannot make `x` in `{tmp_path}`.*: {words}") as failure,
        disk_errors(tmp_path, "cannot make `x`"),
    ):
        raise OSError(number, os.strerror(number))
    assert hint in (failure.value.hint or "")


@pytest.mark.parametrize(
    ("disk", "words", "full"),
    [
        pytest.param((4096, 1000, 5, 500, 100), "a disk of 4 MB, 0 MB free", True, id="no blocks"),
        pytest.param(
            (4096, 1000, 500, 700, 0),
            "a disk with room for 700 files and directories, of which none is free",
            True,
            id="no inodes",
        ),
        pytest.param((4096, 1000, 500, 700, 5), "a disk of 4 MB, 2 MB and room for 5 files free again", False, id="room again"),
        pytest.param((4096, 1000, 500, 0, 0), "a disk of 4 MB, 2 MB free again", False, id="inodes as they are needed"),
    ],
)
def test_a_disk_is_full_of_blocks_or_of_inodes(disk: tuple[int, int, int, int, int], words: str, full: bool) -> None:
    size, blocks, free_blocks, files, free_files = disk
    status = os.statvfs_result((size, size, blocks, free_blocks, free_blocks, files, free_files, free_files, 0, 255))
    assert (words, full) == (room_words(status), is_full(status))


def test_other_errors_pass(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), disk_errors(tmp_path, "cannot make `x`"):
        raise FileNotFoundError(errno.ENOENT, "no such file")


def test_a_store_error_says_what_could_not_be_done() -> None:
    with pytest.raises(StoreError, match="cannot look: permission denied"), store_errors("cannot look"):
        raise PermissionError(errno.EACCES, "Permission denied")
