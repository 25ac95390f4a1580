"""Copies of files: one that is hashed on the way, or a layer's whole directory on another file system.

No link is followed at either end and the target must not exist, so neither end can be redirected. A directory's copy has the same
files, contents and hard links; owners, modes, times and extended attributes are the manifest's, and
`runtime.store.layer_files.settle` sets them as on every layer.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import stat
from collections.abc import Callable, Sequence
from pathlib import Path

from runtime.errors import BadContent, StoreError
from runtime.whole_file import write_all

_FICLONE = 0x40049409
_CHUNK = 1 << 20
_AT_ONCE = 1 << 30
_CANNOT_CLONE = {errno.EOPNOTSUPP, errno.EXDEV, errno.EINVAL, errno.ENOTTY, errno.ENOSYS, errno.EPERM, errno.ETXTBSY}


def copy_hashed(
    source: Path,
    target: Path,
    *,
    mode: int,
    settle: Callable[[int], None] = lambda _: None,
    algorithms: Sequence[str] = ("sha256",),
) -> tuple[int, dict[str, bytes]]:
    """Copy *source* to the new file *target* with exactly *mode*; *settle* is given its descriptor, to set what else it has.
    Returns its size and a digest for each of *algorithms*."""
    reading = os.open(source, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    try:
        if not stat.S_ISREG(os.fstat(reading).st_mode):
            raise BadContent(f"`{source}` is no regular file")
        writing = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            size, digests = _transfer(reading, writing, algorithms)
            os.fchmod(writing, mode)
            settle(writing)
        finally:
            os.close(writing)
    finally:
        os.close(reading)
    return size, digests


def _transfer(reading: int, writing: int, algorithms: Sequence[str]) -> tuple[int, dict[str, bytes]]:
    hashers = {name: hashlib.new(name) for name in algorithms}
    cloned = _clone(reading, writing)
    size = 0
    while chunk := os.read(reading, _CHUNK):
        size += len(chunk)
        for hasher in hashers.values():
            hasher.update(chunk)
        if not cloned:
            write_all(writing, chunk)
    return size, {name: hasher.digest() for name, hasher in hashers.items()}


def _clone(reading: int, writing: int) -> bool:
    try:
        fcntl.ioctl(writing, _FICLONE, reading)
    except OSError as error:
        if error.errno not in _CANNOT_CLONE:
            raise
        return False
    return True


def copy_content(source: Path, target: Path) -> None:
    """Make the directory *target* with what *source* holds. Links are copied as links."""
    _Copy().directory(os.fspath(source), os.fspath(target))


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
            copy_file(source, target)
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


def copy_file(source: Path | str, target: Path | str) -> None:
    """Make the new file *target* with the bytes of *source*, 0600."""
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
