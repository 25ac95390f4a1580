"""Content digests of files, remembered by what stat(2) says about them, so that a warm launch hashes nothing.

A file whose inode, size, mtime and ctime are those of last time has last time's content. ctime is in it since nobody can set
it back. What was changed within a clock tick of being hashed is not remembered (git's "racily clean" entries:
Documentation/technical/racy-git.txt).
"""

from __future__ import annotations

import hashlib
import os
import time
from pathlib import Path

from launcher.plan.answers import keep_answer, read_answer

_TICK_NS = 50_000_000
"""Generous: the kernel stamps files with the time of its last tick, 1 to 10 ms ago."""
_FORMAT = 1


class StatCache:
    """The remembered digests of the files below one directory. Not shared between threads."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._known: dict[str, list[int | str]] = read_answer(path, lambda document: document["files"], format=_FORMAT) or {}
        self._seen: dict[str, list[int | str]] = {}
        self._changed = False

    def sha256(self, name: str, path: str, status: os.stat_result) -> str:
        """Hex digest of the regular file *path*, remembered under *name*. *status* is its lstat."""
        stamp = [status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns]
        known = self._known.get(name)
        if known is not None and known[:4] == stamp:
            self._seen[name] = known
            return str(known[4])
        self._changed = True
        hashed_at = time.time_ns()
        with open(path, "rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
            after = os.fstat(file.fileno())
        unchanged = stamp == [after.st_ino, after.st_size, after.st_mtime_ns, after.st_ctime_ns]
        if unchanged and status.st_ctime_ns < hashed_at - _TICK_NS:
            self._seen[name] = [*stamp, digest]
        return digest

    def save(self) -> None:
        """Write what was seen, if it differs from what was known."""
        if not self._changed and len(self._seen) == len(self._known):
            return
        keep_answer(self._path, {"format": _FORMAT, "files": self._seen})


def cache_for(directory: str, *, cache_dir: Path) -> StatCache:
    """The cache of *directory*, below `StateDir.cache`."""
    name = hashlib.sha256(os.fsencode(os.path.abspath(directory))).hexdigest()[:32]
    return StatCache(cache_dir / "stat" / f"{name}.json")
