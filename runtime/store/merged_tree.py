"""What a container sees of a stack of layers: their manifests merged as overlayfs merges their directories.

A deletion and a replaced (opaque) directory hide what lies below them, a file hides a directory and the other way round, and a
directory in two layers is one, with the attributes of the upper (kernel: Documentation/filesystems/overlayfs.rst). Nothing is
mounted, so it works for anybody, also for images that could not run here.
"""

from __future__ import annotations

import os
import posixpath
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from pathlib import Path

from runtime.errors import StoreError
from runtime.layer.tree import Tree, TreeEntry, printable
from runtime.light_dataclasses import dataclass, replace
from runtime.store.records import Layer
from runtime.store.store import Store

_MOST_LINKS = 40
"""As many as the kernel follows (path_resolution(7))."""


@dataclass(frozen=True, slots=True)
class Content:
    """Where the content of a file of the merged tree lies."""

    position: int
    """Number of the layer, bottom first."""
    path: str
    """Path below that layer's directory."""


class MergedTree:
    """The tree that a container sees, in the form of one layer without deletions, and where its files' contents lie.

    The names of one file (hard links) are what is left of them: the first is the file and the others link to it, as in `Tree`.
    """

    def __init__(self, tree: Tree, contents: dict[str, Content], roots: Sequence[Path] = ()) -> None:
        self.tree = tree
        self._contents = contents
        self._roots = roots
        self._by_path = {entry.path: entry for entry in tree}

    def __iter__(self) -> Iterator[TreeEntry]:
        return iter(self.tree)

    def __len__(self) -> int:
        return len(self.tree)

    def get(self, path: str) -> TreeEntry | None:
        """The entry at exactly *path*; links are not followed."""
        return self._by_path.get(path)

    def file_of(self, entry: TreeEntry) -> TreeEntry:
        """The file that has the content of *entry*: itself, or what a hard link shares."""
        return self._by_path[entry.link] if entry.type == "hardlink" else entry

    def content_of(self, path: str) -> Content | None:
        """Where the content of the file or hard link *path* lies; None for anything else."""
        return self._contents.get(path)

    def resolve(self, path: str) -> str | None:
        """*path* with every symbolic link followed inside the tree, as a container would; None when it leads nowhere."""
        done = ""
        left = path.split("/")[::-1]
        followed = 0
        while left:
            part = left.pop()
            if part in ("", "."):
                continue
            if part == "..":
                done = posixpath.dirname(done)
                continue
            here = f"{done}/{part}" if done else part
            entry = self._by_path.get(here)
            if entry is None:
                return None
            if entry.type != "symlink":
                done = here
                continue
            followed += 1
            if followed > _MOST_LINKS:
                return None
            if entry.link.startswith("/"):
                done = ""
            left.extend(entry.link.split("/")[::-1])
        return done

    def read(self, path: str, *, limit: int = 64 << 20) -> bytes | None:
        """The content of the file that *path* leads to, at most *limit* bytes; None when it leads to no file."""
        resolved = self.resolve(path)
        content = None if resolved is None else self._contents.get(resolved)
        if content is None:
            return None
        location = os.path.join(self._roots[content.position], content.path)
        try:
            descriptor = os.open(location, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
        except OSError as error:
            raise StoreError(f"cannot read `{printable(location)}`: {error.strerror}") from error
        with open(descriptor, "rb") as file:
            return file.read(limit)


def merged_tree(store: Store, layers: Sequence[Layer]) -> MergedTree:
    """The tree of the stored *layers*, bottom first (`Image.layers`). Reads their manifests, no contents."""
    return merge((store.tree_of(layer) for layer in layers), roots=[store.layer_dir(layer) for layer in layers])


def merge(trees: Iterator[Tree] | Sequence[Tree], *, roots: Sequence[Path] = ()) -> MergedTree:
    """*trees*, bottom first, as one. *roots* are the directories with their contents, for `MergedTree.read`."""
    seen: dict[str, tuple[int, TreeEntry]] = {}
    linked: dict[int, dict[str, TreeEntry]] = {}
    for position, tree in enumerate(trees):
        if any(entry.type == "hardlink" for entry in tree):
            linked[position] = {entry.path: entry for entry in tree}
        _put_onto(seen, position, tree)
    return _with_links_to_what_is_left(seen, linked, roots)


def _put_onto(seen: dict[str, tuple[int, TreeEntry]], position: int, tree: Tree) -> None:
    hiding = [
        entry.path
        for entry in tree
        if (entry.opaque or entry.type != "dir") and entry.path in seen and seen[entry.path][1].type == "dir"
    ]
    if hiding:
        known = sorted(seen)
        for path in hiding:
            # "0" is the character after "/": what lies between the two is everything below the path.
            for hidden in known[bisect_left(known, path + "/") : bisect_left(known, path + "0")]:
                seen.pop(hidden, None)
    for entry in tree:
        if entry.type == "whiteout":
            seen.pop(entry.path, None)
        else:
            seen[entry.path] = (position, replace(entry, opaque=False) if entry.opaque else entry)


def _with_links_to_what_is_left(
    seen: dict[str, tuple[int, TreeEntry]], linked: dict[int, dict[str, TreeEntry]], roots: Sequence[Path]
) -> MergedTree:
    first: dict[Content, str] = {}
    contents: dict[str, Content] = {}
    for path in sorted(seen):
        position, entry = seen[path]
        if entry.type in ("file", "hardlink"):
            contents[path] = Content(position, entry.link if entry.type == "hardlink" else path)
            if position in linked:
                first.setdefault(contents[path], path)
    entries = []
    for path in sorted(seen):
        position, entry = seen[path]
        content = contents.get(path)
        if content is not None and position in linked:
            file = linked[position][content.path]
            if first[content] == path:
                entry = entry if entry is file else replace(file, path=path)
            else:
                entry = replace(file, path=path, type="hardlink", link=first[content], size=0, sha256="")
        entries.append(entry)
    return MergedTree(Tree(tuple(entries)), contents, roots)
