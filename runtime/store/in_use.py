"""Who uses what of a store, so that collecting garbage needs not wait for anybody; what somebody said must stay; who builds what.

A build in progress is a locked file in `tmp` (as everything there, it says by its lock that it is alive) whose time is when the
build began: what was used since then is that build's. Whoever works with one image keeps its record locked, shared. Both end with
the process, however that ends. A pinned image stays whatever its age and however full the store is.

Each cache key has a lock, so that of two launches one builds a layer. Its file exists only while somebody holds or awaits the
lock: the holder unlinks it before letting go, and whoever waited on the unlinked file notices that the name no longer leads to it
and starts again.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from runtime.file_lock import LockBusy, is_locked, open_locked
from runtime.oci.digest import Digest
from runtime.store.failures import store_errors
from runtime.store.records import GATE, PINS, Image
from runtime.store.staging import in_use, partial_file

if TYPE_CHECKING:
    from runtime.store.store import Store

_SUFFIX = ".build"
_CLOCK_SLACK_S = 60.0
"""A clock that is set back meanwhile by no more than this does no harm."""


@contextmanager
def naming(root: Path) -> Iterator[None]:
    """Give something its name, or take something into use, in the body: no garbage is collected meanwhile. Keep it short."""
    with store_errors(f"cannot write to the store `{root}`"):
        descriptor = open_locked(root / GATE, shared=True)
    try:
        yield
    finally:
        os.close(descriptor)


@contextmanager
def building(root: Path) -> Iterator[None]:
    """Be a build in progress for the body."""
    with partial_file(root / "tmp", mode=0o600, suffix=_SUFFIX):
        yield


def earliest_build(root: Path) -> float | None:
    """What was used since this time is in use; None when nothing is being built."""
    started = []
    for path in in_use(root / "tmp"):
        with suppress(FileNotFoundError):  # it ended just now
            started += [path.stat().st_mtime] if path.suffix == _SUFFIX else []
    return min(started) - _CLOCK_SLACK_S if started else None


class HeldImage:
    """An image that stays as long as this object does."""

    def __init__(self, record: Path) -> None:
        self._descriptor = os.open(record, os.O_RDONLY | os.O_CLOEXEC)
        fcntl.flock(self._descriptor, fcntl.LOCK_SH)

    def fileno(self) -> int:
        """For whoever is to hold it, too."""
        return self._descriptor

    def __del__(self) -> None:
        if hasattr(self, "_descriptor"):
            os.close(self._descriptor)


def hold(root: Path, digest: Digest) -> HeldImage | None:
    """Keep that image from being collected; None when it is gone."""
    with _looking(root):
        try:
            return HeldImage(root / "images" / f"{digest.hex}.json")
        except FileNotFoundError:
            return None


def is_held(root: Path, digest: Digest) -> bool:
    """Whether somebody works with that image."""
    return is_locked(root / "images" / f"{digest.hex}.json", also_shared=True)


@contextmanager
def _looking(root: Path) -> Iterator[None]:
    """As `naming`, also for a store that we may only read."""
    try:
        descriptor = os.open(root / GATE, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        yield  # nobody ever wrote here
        return
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH)
        yield
    finally:
        os.close(descriptor)


def pin(store: Store, image: Image) -> None:
    """Let *image* stay. Idempotent."""
    from runtime.store.blobs import write_atomically

    store.ensure()
    with naming(store.root):
        write_atomically(store.root / PINS / image.digest.hex, b"", tmp=store.root / "tmp", sync=True)


def unpin(store: Store, image: Image) -> bool:
    """Take the pin away; False when there was none."""
    try:
        (store.root / PINS / image.digest.hex).unlink()
    except FileNotFoundError:
        return False
    return True


def pinned_images(store: Store) -> frozenset[Digest]:
    """Digests of all pinned images."""
    try:
        return frozenset(Digest(f"sha256:{name}") for name in os.listdir(store.root / PINS) if len(name) == 64)
    except FileNotFoundError:
        return frozenset()


@contextmanager
def key_lock(directory: Path, key: Digest, *, when_taken: Callable[[], object] = lambda: None) -> Iterator[None]:
    """Hold the lock of *key* for the body. *when_taken* is called before another builder of it is waited for."""
    path = directory / key.hex
    descriptor = _lock(path, when_taken)
    try:
        yield
    finally:
        os.unlink(path)
        os.close(descriptor)


@contextmanager
def key_locks(directory: Path, keys: Iterable[Digest], *, when_taken: Callable[[], object] = lambda: None) -> Iterator[None]:
    """Hold the locks of all *keys*; always taken in one order, so that two builders cannot wait for each other."""
    with ExitStack() as held:
        for key in sorted(set(keys)):
            held.enter_context(key_lock(directory, key, when_taken=when_taken))
        yield


def _lock(path: Path, when_taken: Callable[[], object]) -> int:
    while True:
        try:
            descriptor = open_locked(path, wait=False)
        except LockBusy:
            when_taken()
            descriptor = open_locked(path)
        mine = os.fstat(descriptor)
        try:
            named = os.stat(path, follow_symlinks=False)
        except FileNotFoundError:
            named = None
        if named is not None and (named.st_dev, named.st_ino) == (mine.st_dev, mine.st_ino):
            return descriptor
        os.close(descriptor)
