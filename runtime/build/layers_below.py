"""What the layers below a step have at a path, asked of their directories: a few look-ups cost less than a mount.

Directories are merged as overlayfs merges them (Documentation/filesystems/overlayfs.rst). Symbolic links are followed inside the
root, as a container would. Owners and modes come from the layer's manifest, which has them also where an ordinary user's
directory cannot. For whole trees there is `runtime.store.merged_tree`.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Sequence
from pathlib import Path

from runtime.errors import BuildError
from runtime.layer.tree import OPAQUE_XATTRS, TreeEntry, find_entry, printable, read_tree
from runtime.store.records import Layer

_MOST_LINKS = 40
"""As many as the kernel follows (path_resolution(7))."""

_FEW = 20
"""From so many questions on it is cheaper to read a manifest whole."""

_KINDS = {
    stat.S_IFREG: "file",
    stat.S_IFDIR: "dir",
    stat.S_IFLNK: "symlink",
    stat.S_IFIFO: "fifo",
    stat.S_IFCHR: "char",
    stat.S_IFBLK: "block",
}


class LayersBelow:
    """The directories *roots* (`Store.layer_dir`), bottom first, as one tree."""

    def __init__(self, roots: Sequence[Path]) -> None:
        top_first = tuple(os.fspath(root) for root in reversed(roots))
        self._found: dict[str, tuple[str, tuple[str, ...]] | None] = {"": ("dir", top_first)}
        self._asked: dict[Path, int] = {}
        self._entries: dict[Path, dict[str, TreeEntry]] = {}

    def kind(self, path: str) -> str | None:
        """What lies at exactly *path* (relative, no links followed): `file`, `dir`, `symlink`, …; None for nothing."""
        found = self._look(path)
        return None if found is None else found[0]

    def entry(self, path: str) -> TreeEntry:
        """The manifest's entry for what lies at exactly *path*."""
        found = self._look(path)
        if found is None or not path:
            raise KeyError(path)
        entry = self._entry_in(Path(found[1][0]).parent / "tree.jsonl", path)
        if entry is None:
            raise BuildError(
                f"the manifest of a layer does not have `{printable(path)}`", hint="`launch store check` finds damage"
            )
        return entry

    def _entry_in(self, manifest: Path, path: str) -> TreeEntry | None:
        asked = self._asked[manifest] = self._asked.get(manifest, 0) + 1
        if asked <= _FEW:
            return find_entry(manifest, path)
        if manifest not in self._entries:
            self._entries[manifest] = {entry.path: entry for entry in read_tree(manifest)}
        return self._entries[manifest].get(path)

    def resolve(self, path: str) -> tuple[str, str | None]:
        """*path* with all links followed, and what lies there. What does not exist is taken as it is written.

        Raises BuildError where a file is in the way, or links lead in a circle.
        """
        done: list[str] = []
        left = path.split("/")[::-1]
        followed = 0
        while left:
            part = left.pop()
            if part in ("", "."):
                continue
            if part == "..":
                done[-1:] = []
                continue
            here = "/".join((*done, part))
            kind = self.kind(here)
            if kind == "symlink":
                followed += 1
                if followed > _MOST_LINKS:
                    raise BuildError(f"`/{printable(path.strip('/'))}` leads through more than {_MOST_LINKS} symbolic links")
                link = self._link(here)
                if link.startswith("/"):
                    done.clear()
                left.extend(link.split("/")[::-1])
                continue
            if kind not in (None, "dir") and any(rest not in ("", ".") for rest in left):
                raise BuildError(f"`/{printable(here)}` is no directory in the layers below")
            done.append(part)
        real = "/".join(done)
        return real, self.kind(real)

    def read(self, path: str, *, limit: int = 16 << 20) -> bytes | None:
        """The content of the file that *path* leads to, at most *limit* bytes; None when it leads to none."""
        try:
            real, kind = self.resolve(path)
        except BuildError:
            return None
        found = self._look(real)
        if kind != "file" or found is None:
            return None
        with open(os.open(f"{found[1][0]}/{real}", os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC), "rb") as file:
            return file.read(limit)

    def _link(self, path: str) -> str:
        found = self._look(path)
        assert found is not None
        return os.readlink(f"{found[1][0]}/{path}")

    def _look(self, path: str) -> tuple[str, tuple[str, ...]] | None:
        """Kind, and the layers that it comes from, top first: several for a merged directory."""
        if path not in self._found:
            parent = self._look(path.rpartition("/")[0])
            self._found[path] = self._look_in(path, parent[1]) if parent is not None and parent[0] == "dir" else None
        return self._found[path]

    def _look_in(self, path: str, roots: Sequence[str]) -> tuple[str, tuple[str, ...]] | None:
        merged: list[str] = []
        for root in roots:
            try:
                status = os.lstat(f"{root}/{path}")
            except FileNotFoundError:
                continue
            kind = _KINDS.get(stat.S_IFMT(status.st_mode), "socket")
            if kind == "char" and status.st_rdev == 0:
                break  # deleted here
            if kind != "dir":
                # Below a directory it is hidden by that.
                return ("dir", tuple(merged)) if merged else (kind, (root,))
            merged.append(root)
            if _is_opaque(f"{root}/{path}"):
                break
        return ("dir", tuple(merged)) if merged else None


def _is_opaque(location: str) -> bool:
    names = os.listxattr(location, follow_symlinks=False)
    return any(name in names and os.getxattr(location, name, follow_symlinks=False) == b"y" for name in OPAQUE_XATTRS)


StageLayers = Callable[[int], Sequence[Layer]]
"""Number in `BuildPlan.stages` → its layers, bottom first, made where they are missing."""


def no_stage(number: int) -> Sequence[Layer]:
    """For who makes no stages."""
    raise BuildError(f"stage {number} is not built")
