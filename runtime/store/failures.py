"""A failed system call on the store, in words that say what to do."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from runtime.errors import StoreError, error_words

NO_ROOM = "`launch gc` frees what no image needs, LAUNCH_HOME moves the store to another disk"

_A_FEW_LINES = 16 << 10

_HINTS = {
    errno.ENOSPC: f"the disk is full; {NO_ROOM}",
    errno.EDQUOT: f"the disk quota is used up; {NO_ROOM}",
    errno.EACCES: "the store belongs to another user; LAUNCH_HOME names one of your own",
    errno.EROFS: "the file system is read-only; LAUNCH_HOME names another place",
    errno.EIO: "the disk has errors; the kernel's log (`dmesg`) says more",
}


def store_error(error: OSError, what: str) -> StoreError:
    """*error* as a StoreError, with advice where the errno has a known meaning."""
    return StoreError(f"{what}: {error_words(error)}", hint=_HINTS.get(error.errno or 0))


def of_the_disk(error: OSError) -> bool:
    """Whether the disk is to blame for *error*, and nothing that was read or written."""
    return error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO)


@contextmanager
def store_errors(what: str, *, root: Path | None = None) -> Iterator[None]:
    """An OSError of the body becomes a StoreError that says *what* could not be done; and how full the disk of *root* is."""
    try:
        yield
    except OSError as error:
        raise store_error(error, what if root is None else f"{what}{_room(root, error)}") from error


@contextmanager
def disk_errors(root: Path, what: str) -> Iterator[None]:
    """An OSError of the body that the disk of the store *root* is to blame for becomes a StoreError; others pass."""
    try:
        yield
    except OSError as error:
        if not of_the_disk(error):
            raise
        raise store_error(error, f"{what} in `{root}`{_room(root, error)}") from error


def _room(root: Path, error: OSError) -> str:
    """How much is there, where that is the question."""
    try:
        status = os.statvfs(root)
    except OSError:
        return ""
    return f" ({room_words(status)})" if error.errno == errno.ENOSPC and status.f_frsize else ""


def room_words(status: os.statvfs_result) -> str:
    """A disk is full when its blocks are, or its inodes: files that are small and many."""
    if _has_no_inodes(status):
        return f"a disk with room for {status.f_files} files and directories, of which none is free"
    free, total = (count * status.f_frsize / 1e6 for count in (status.f_bavail, status.f_blocks))
    if is_full(status):
        return f"a disk of {total:.0f} MB, {free:.0f} MB free"
    files = f" and room for {status.f_favail} files" if status.f_files else ""
    return f"a disk of {total:.0f} MB, {free:.0f} MB{files} free again"


def is_full(status: os.statvfs_result) -> bool:
    """Whether there is no room to speak of: less than a hundredth, or no inode."""
    return status.f_bavail * 100 < status.f_blocks or _has_no_inodes(status)


def is_out_of_room(status: os.statvfs_result) -> bool:
    """Whether not even a few lines can be written."""
    return status.f_bavail * status.f_frsize < _A_FEW_LINES or _has_no_inodes(status)


def _has_no_inodes(status: os.statvfs_result) -> bool:
    """File systems that make inodes as they need them (btrfs) say 0 of 0."""
    return status.f_files > 0 and status.f_favail == 0
