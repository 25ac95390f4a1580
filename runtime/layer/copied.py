"""A layer's directory on another file system: the same files, their contents and hard links.

Owners, modes, times and extended attributes are not copied: they are the manifest's, and `runtime.store.layer_files.settle` sets
them as on every layer.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

from runtime.errors import StoreError

_AT_ONCE = 1 << 30


def copy_content(source: Path, target: Path) -> None:
    """Make the directory *target* with what *source* holds. Links are copied as links."""
    _Copy().directory(os.fspath(source), os.fspath(target))


def copy_file(source: Path, target: Path) -> None:
    """Make the new file *target* with the bytes of *source*, 0600."""
    _copy_bytes(os.fspath(source), os.fspath(target))


class _Copy:
    def __init__(self) -> None:
        self._first: dict[tuple[int, int], str] = {}
        """Inode with several names → the first of its copies."""

    def directory(self, source: str, target: str) -> None:
        os.mkdir(target, 0o700)
        with os.scandir(source) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    self.directory(entry.path, f"{target}/{entry.name}")
                else:
                    self._file(entry.path, f"{target}/{entry.name}")

    def _file(self, source: str, target: str) -> None:
        found = os.lstat(source)
        if found.st_nlink > 1:
            first = self._first.setdefault((found.st_dev, found.st_ino), target)
            if first != target:
                os.link(first, target, follow_symlinks=False)
                return
        if stat.S_ISLNK(found.st_mode):
            os.symlink(os.readlink(source), target)
        elif stat.S_ISREG(found.st_mode):
            _copy_bytes(source, target)
        else:
            _make_node(target, found)


def _make_node(target: str, like: os.stat_result) -> None:
    """A fifo, a whiteout; for root a device."""
    try:
        os.mknod(target, stat.S_IFMT(like.st_mode) | 0o600, like.st_rdev)
    except PermissionError as error:
        if not stat.S_ISCHR(like.st_mode) or like.st_rdev != 0:
            raise
        raise StoreError(
            f"`{target}`: its file system holds no whiteouts (character devices 0/0), which say what a layer removes",
            hint="LAUNCH_HOME has to be where they can be made: an overlay, and some FUSE file systems, are not",
        ) from error


def _copy_bytes(source: str, target: str) -> None:
    # Not copy_file_range(2): between two file systems it is EXDEV more often than not.
    read_fd = os.open(source, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        write_fd = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            while os.sendfile(write_fd, read_fd, None, _AT_ONCE):
                continue
        finally:
            os.close(write_fd)
    finally:
        os.close(read_fd)
