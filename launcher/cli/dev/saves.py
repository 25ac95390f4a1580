"""Saved files of the code, as they are saved: changes of those that were code at the start, and Python files that are new.

Not everything that appears below the code's root: the program writes there, too, and would be rerun for its own results.
"""

from __future__ import annotations

import os
import select
from collections.abc import Collection
from pathlib import Path

from launcher.plan.code.code_listing import NEVER_CODE
from runtime.kernel.inotify import CLOSE_WRITE, CREATE, MOVED_TO, Inotify

_SETTLED_MS = 20
"""Who saves several files at once has done so within this time of the last."""


class Saves:
    """A context manager; `fileno()` for poll."""

    def __init__(self, root: Path, files: Collection[str]) -> None:
        """*files* are the code's, relative to *root*."""
        self._root = root
        self._files = frozenset(files)
        self._inotify = Inotify()
        self._watch(root)

    @property
    def misses(self) -> bool:
        """Whether the kernel has no watches left for this user: some saves will not be seen."""
        return self._inotify.misses

    def fileno(self) -> int:
        return self._inotify.fileno()

    def read(self) -> list[str]:
        """What was saved since the last call, once each; waits a moment for what is saved along with it."""
        saved: dict[str, None] = {}
        while True:
            for event in self._inotify.read():
                if event.mask & CREATE and event.path.is_dir():
                    self._watch(event.path)
                elif event.mask & (CLOSE_WRITE | MOVED_TO) and self._is_code(path := os.path.relpath(event.path, self._root)):
                    saved[path] = None
            if not saved or not select.select([self._inotify], [], [], _SETTLED_MS / 1000)[0]:
                return list(saved)

    def _is_code(self, path: str) -> bool:
        return path in self._files or path.endswith(".py")

    def _watch(self, top: Path) -> None:
        for directory, names, _files in os.walk(top):
            names[:] = [name for name in names if name not in NEVER_CODE]
            self._inotify.watch(Path(directory), CLOSE_WRITE | MOVED_TO | CREATE)

    def __enter__(self) -> Saves:
        return self

    def __exit__(self, *_failure: object) -> None:
        self._inotify.close()
