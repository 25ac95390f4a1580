"""What differs between two trees of files, path by path: what a container could tell apart, except times."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from runtime.layer.tree import TreeEntry
from runtime.store.merged_tree import MergedTree

Aspect = Literal["type", "mode", "owner", "size", "content", "link", "device", "xattrs"]


@dataclass(frozen=True, slots=True)
class PathDifference:
    """One path that only one tree has, or that both have in another way."""

    path: str
    before: TreeEntry | None
    """None: the path was added."""
    after: TreeEntry | None
    """None: the path is gone."""
    aspects: tuple[tuple[Aspect, str, str], ...] = ()
    """(what, before, after) of a path that both have."""

    @property
    def kind(self) -> Literal["added", "removed", "changed"]:
        return "added" if self.before is None else "removed" if self.after is None else "changed"


def tree_difference(before: MergedTree, after: MergedTree) -> Iterator[PathDifference]:
    """Every difference, sorted by path."""
    for path in sorted({entry.path for entry in before} | {entry.path for entry in after}):
        old, new = before.get(path), after.get(path)
        if old is None or new is None:
            yield PathDifference(path, old, new)
        elif old != new:
            aspects = tuple(_aspects(old, before, new, after))
            if aspects:
                yield PathDifference(path, old, new, aspects)


def _aspects(old: TreeEntry, before: MergedTree, new: TreeEntry, after: MergedTree) -> Iterator[tuple[Aspect, str, str]]:
    if _kind(old) != _kind(new):
        yield "type", _kind(old), _kind(new)
    if old.mode != new.mode and "symlink" not in (old.type, new.type):
        yield "mode", f"{old.mode:04o}", f"{new.mode:04o}"
    if (old.uid, old.gid) != (new.uid, new.gid):
        yield "owner", f"{old.uid}:{old.gid}", f"{new.uid}:{new.gid}"
    if _kind(old) == _kind(new) == "file":
        then, now = before.file_of(old), after.file_of(new)
        if then.size != now.size:
            yield "size", str(then.size), str(now.size)
        if then.sha256 != now.sha256:
            yield "content", then.sha256, now.sha256
    if old.link != new.link and _kind(old) == _kind(new):
        yield "link", old.link, new.link
    if old.device != new.device:
        yield "device", _device(old), _device(new)
    if old.xattrs != new.xattrs:
        yield "xattrs", _xattrs(old), _xattrs(new)


def _kind(entry: TreeEntry) -> str:
    """A hard link is a file that has another name too."""
    return "file" if entry.type == "hardlink" else entry.type


def _device(entry: TreeEntry) -> str:
    return "" if entry.device is None else f"{entry.device[0]}:{entry.device[1]}"


def _xattrs(entry: TreeEntry) -> str:
    return " ".join(f"{name}={value.hex()}" for name, value in entry.xattrs)
