"""What of `LAUNCH_HOME/cache` garbage collection may take.

Not what a launch was pinned to (recorded resolutions and bases: without them the same command might mean other versions), and not
the experiments' own `caches`, which are their data.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from runtime.store.garbage import CacheEntry
from runtime.store.usage import Thing

KEPT = ("locks", "bases", "shared")
WHOLE = ("build-mounts", "verify")
"""Directories whose children go as a whole: caches of `RUN --mount=type=cache`, stores that `launch verify --keep` left."""


def cache_entries(cache: Path) -> list[CacheEntry]:
    """Every file (of WHOLE: directory) that may go, with its size and when it was last used."""
    found: list[CacheEntry] = []
    for path in _children(cache):
        if path.name in KEPT:
            continue
        found += _whole(path) if path.name in WHOLE else _files(path)
    return found


def _whole(directory: Path) -> Iterator[CacheEntry]:
    for path in _children(directory):
        if path.suffix == ".lock":
            continue  # of a cache that may be in use: see `runtime.build.run.run_mounts`
        lock = path.with_name(f"{path.name}.lock")
        things = [entry.thing for entry in _files(path)]
        times = [place.lstat().st_mtime for place in (path, lock) if place.exists()]
        used_at = max([*times, *(thing.used_at for thing in things)], default=0.0)
        yield CacheEntry(path, Thing(sum(thing.size_bytes for thing in things), used_at), lock if lock.exists() else None)


def _files(path: Path) -> Iterator[CacheEntry]:
    if path.is_dir() and not path.is_symlink():
        for child in _children(path):
            yield from _files(child)
        return
    try:
        status = path.lstat()
    except FileNotFoundError:
        return
    yield CacheEntry(path, Thing(status.st_size, status.st_mtime))


def _children(directory: Path) -> list[Path]:
    try:
        return [directory / name for name in sorted(os.listdir(directory))]
    except (FileNotFoundError, NotADirectoryError):
        return []
