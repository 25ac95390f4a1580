"""Where things are made before they get their name: directories and files in `tmp`, each flock'ed for as long as it is in use.

Whoever dies leaves a directory or file without a lock, whatever killed it; `sweep` removes those. The lock is on the thing itself
and survives a rename, a fork holds it too, and no lock file is left behind. Of a directory on NFS or FUSE no other machine sees
the lock, so a directory's name says on which one it was made: others leave it alone for a week.
"""

from __future__ import annotations

import errno
import fcntl
import os
import re
import secrets
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from runtime.errors import StoreError
from runtime.file_lock import locked
from runtime.store.failures import store_errors

_GATE = ".gate"
_HERE = f"{zlib.crc32(os.uname().nodename.encode()):08x}"
_MADE_ON = re.compile(r"([0-9a-f]{8})-[0-9a-f]{16}")
_OF_OTHERS_S = 7 * 86_400.0


@contextmanager
def staging(tmp: Path) -> Iterator[Path]:
    """A new empty directory below *tmp*, 0700, removed at the end unless it was renamed away."""
    descriptor, path = locked_directory(tmp, f"{_HERE}-{secrets.token_hex(8)}")
    try:
        yield path
    finally:
        try:
            remove_tree(path)
        finally:
            os.close(descriptor)


def locked_directory(tmp: Path, name: str) -> tuple[int, Path]:
    """Make the directory *name* below *tmp*, 0700; it is in use for as long as somebody holds the descriptor."""
    # The gate is shared by makers and exclusive for sweepers: between mkdir and flock a directory looks abandoned.
    with store_errors(f"cannot make a directory in `{tmp}`", root=tmp), locked(tmp / _GATE, shared=True):
        path = tmp / name
        path.mkdir(mode=0o700)
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        fcntl.flock(descriptor, fcntl.LOCK_EX)
    return descriptor, path


@contextmanager
def partial_file(tmp: Path, *, mode: int, suffix: str = ".partial") -> Iterator[tuple[BinaryIO, Path]]:
    """A new empty file below *tmp* and its path, locked while it is written as the directories are; removed at the end unless
    it was renamed away."""
    with store_errors(f"cannot make a file in `{tmp}`", root=tmp), locked(tmp / _GATE, shared=True):
        path = tmp / f"{secrets.token_hex(8)}{suffix}"
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
        fcntl.flock(descriptor, fcntl.LOCK_EX)
    try:
        with os.fdopen(descriptor, "wb") as file:
            yield file, path
    finally:
        path.unlink(missing_ok=True)


@contextmanager
def burial(tmp: Path) -> Iterator[Callable[[Path], None]]:
    """A function that takes a directory's name away; what it was called with is removed at the end.

    Nothing is made for it, so it works on a full disk. Whoever sweeps meanwhile helps.
    """
    graves: list[Path] = []

    def bury(path: Path) -> None:
        grave = tmp / secrets.token_hex(8)
        os.rename(path, grave)
        graves.append(grave)

    try:
        yield bury
    finally:
        for grave in graves:
            remove_tree(grave)


def sweep(tmp: Path, *, remove: Callable[[Path], None] | None = None) -> int:
    """Remove what killed builders left below *tmp*. Returns how many entries. Directories in use are left alone."""
    remove = remove or remove_tree
    removed = 0
    abandoned: list[tuple[Path, int]] = []
    try:
        with locked(tmp / _GATE):
            for name in os.listdir(tmp):
                if name != _GATE:
                    descriptor = _claim(tmp / name)
                    if descriptor is not None:
                        abandoned.append((tmp / name, descriptor))
        for path, _ in abandoned:
            remove(path)
            removed += 1
    finally:
        for _, descriptor in abandoned:
            os.close(descriptor)
    return removed


def in_use(tmp: Path) -> list[Path]:
    """What somebody is making below *tmp* now."""
    found = []
    with locked(tmp / _GATE):
        for name in os.listdir(tmp):
            if name != _GATE:
                descriptor = _claim(tmp / name)
                if descriptor is None:
                    found.append(tmp / name)
                else:
                    os.close(descriptor)
    return found


def _claim(path: Path) -> int | None:
    """Lock *path* if nobody has; None when somebody does, or may."""
    try:
        if _may_be_in_use_elsewhere(path):
            return None
        # For writing where that can be: on NFS an exclusive lock is for who may write (flock(2)).
        access = os.O_RDWR if not path.is_dir() and os.access(path, os.W_OK) else os.O_RDONLY
        descriptor = os.open(path, access | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError as error:
        if error.errno == errno.ENOENT:
            return None
        raise StoreError(f"cannot look into `{path}`: {error.strerror}") from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(descriptor)
        if error.errno == errno.EWOULDBLOCK:
            return None
        raise
    return descriptor


def _may_be_in_use_elsewhere(path: Path) -> bool:
    made_on = _MADE_ON.fullmatch(path.name)
    return made_on is not None and made_on[1] != _HERE and time.time() - os.lstat(path).st_mtime < _OF_OTHERS_S


def remove_tree(path: Path) -> None:
    """Remove *path* with everything in it, also directories that deny their owner. A missing path is fine, and so is somebody who
    removes it as well."""
    from runtime.rootfs import removal

    tries = 100  # so that what never gets empty, as a directory on NFS with a file that is open, is an error
    while os.path.lexists(path):
        try:
            if not os.path.isdir(path) or os.path.islink(path):
                os.unlink(path)
            else:
                removal.remove_tree(path)
        except OSError as error:
            tries -= 1
            # Another one has removed it, or has moved a deep directory to its top.
            if error.errno not in (errno.ENOENT, errno.ENOTEMPTY) or tries == 0:
                raise StoreError(f"cannot remove `{path}`: {error.strerror} (`{error.filename}`)") from error
