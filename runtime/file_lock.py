"""Advisory locks on files (flock(2)): released by the kernel when the holder dies, however it dies.

The lock belongs to the open file description: a forked child shares it, an exec'ed one only if the descriptor is inherited.
"""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class LockBusy(Exception):
    """Somebody else holds the lock."""

    def __init__(self, path: Path) -> None:
        super().__init__(f"lock `{path}` is held by another process")
        self.path = path


def open_locked(path: Path, *, shared: bool = False, wait: bool = True) -> int:
    """Open *path* (made if missing, 0600) and lock it. Returns the descriptor; closing it unlocks.

    Raises LockBusy when *wait* is false and the lock is held.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    operation = fcntl.LOCK_SH if shared else fcntl.LOCK_EX
    try:
        fcntl.flock(descriptor, operation if wait else operation | fcntl.LOCK_NB)
    except OSError as error:
        os.close(descriptor)
        if error.errno == errno.EWOULDBLOCK:
            raise LockBusy(path) from None
        raise
    return descriptor


@contextmanager
def locked(path: Path, *, shared: bool = False, wait: bool = True) -> Iterator[int]:
    """Hold the lock on *path* for the body."""
    descriptor = open_locked(path, shared=shared, wait=wait)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def is_locked(path: Path, *, also_shared: bool = False) -> bool:
    """Whether some process holds an exclusive lock on *path* now; with *also_shared*, any lock. A missing file is not locked."""
    try:
        # On NFS an exclusive lock is for who may write (flock(2)).
        access = os.O_RDWR if also_shared and os.access(path, os.W_OK) else os.O_RDONLY
        descriptor = os.open(path, access | os.O_CLOEXEC | os.O_NOFOLLOW)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(descriptor, (fcntl.LOCK_EX if also_shared else fcntl.LOCK_SH) | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno != errno.EWOULDBLOCK:
            raise
        return True
    finally:
        os.close(descriptor)
    return False
