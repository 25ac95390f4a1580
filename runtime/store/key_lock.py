"""One builder a key: a lock for each cache key, so that two launches build a layer once.

The lock file exists only while somebody holds or awaits the lock. Its holder unlinks it before letting go; whoever waited
on the unlinked file notices that the name no longer leads to it and starts again.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from runtime.file_lock import open_locked
from runtime.oci.digest import Digest


@contextmanager
def key_lock(directory: Path, key: Digest) -> Iterator[None]:
    """Hold the lock of *key* for the body."""
    path = directory / key.hex
    descriptor = _lock(path)
    try:
        yield
    finally:
        os.unlink(path)
        os.close(descriptor)


@contextmanager
def key_locks(directory: Path, keys: Iterable[Digest]) -> Iterator[None]:
    """Hold the locks of all *keys*; always taken in one order, so that two builders cannot wait for each other."""
    with ExitStack() as held:
        for key in sorted(set(keys)):
            held.enter_context(key_lock(directory, key))
        yield


def _lock(path: Path) -> int:
    while True:
        descriptor = open_locked(path)
        mine = os.fstat(descriptor)
        try:
            named = os.stat(path, follow_symlinks=False)
        except FileNotFoundError:
            named = None
        if named is not None and (named.st_dev, named.st_ino) == (mine.st_dev, mine.st_ino):
            return descriptor
        os.close(descriptor)
