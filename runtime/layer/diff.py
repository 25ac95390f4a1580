"""What a container changed: the upper directory of an overlay becomes the tree of a layer.

overlayfs's whiteouts and opaque directories are what a layer has on disk anyway (`tree.py`), so a diff is a scan, less what must
not be kept: what differs from run to run, and what the container's own set-up left. What it cannot mean is refused.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

from runtime.errors import StoreError
from runtime.layer.tree import Tree, TreeEntry, printable, scan
from runtime.light_dataclasses import replace

_UNSUPPORTED_MARKS = ("redirect", "metacopy")
_PATTERNS = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}


def diff(upper: Path, *, drop: Sequence[str] = ()) -> Tree:
    """The tree of overlay directory *upper*; paths that match a glob of *drop* are removed from it first.

    A glob is relative, `*` and `?` stay inside one path part, `**` crosses them: `var/log/**` empties `var/log`. A deletion is
    never left out, since what it deletes would come back, nor a directory that holds one.
    """
    tree = scan(upper)
    dropped = matcher(drop)
    kept = []
    gone: dict[str, TreeEntry] = {}
    holding: set[str] = set()  # a deletion
    for entry in reversed(tree.entries):
        if entry.type == "whiteout" or entry.path in holding:
            kept.append(entry)
            holding.add(entry.path.rpartition("/")[0])
        elif dropped(entry.path):
            _remove(upper, entry)
            gone[entry.path] = entry
        else:
            kept.append(entry)
    _refuse_marks(upper, kept)
    return Tree.of(_with_other_names(reversed(kept), gone)) if gone else tree


def _with_other_names(kept: Iterable[TreeEntry], gone: dict[str, TreeEntry]) -> Iterator[TreeEntry]:
    """A file whose first name is gone lives on under its others: the next of them becomes the file."""
    renamed: dict[str, str] = {}
    for entry in kept:
        if entry.type != "hardlink" or entry.link not in gone:
            yield entry
        elif entry.link not in renamed:
            renamed[entry.link] = entry.path
            yield replace(gone[entry.link], path=entry.path)
        else:
            yield replace(entry, link=renamed[entry.link])


def _remove(upper: Path, entry: TreeEntry) -> None:
    location = os.path.join(upper, entry.path)
    if entry.type != "dir":
        os.unlink(location)
        return
    try:
        os.rmdir(location)
    except OSError as error:
        raise StoreError(
            f"cannot leave out directory `{printable(entry.path)}` of which a part is kept: {error.strerror}"
        ) from error


def _refuse_marks(upper: Path, entries: Sequence[TreeEntry]) -> None:
    """Redirects and metadata-only copies point into lower layers: such an upper directory means nothing by itself."""
    for entry in entries:
        if entry.type not in ("file", "dir"):
            continue
        for name in os.listxattr(os.path.join(upper, entry.path), follow_symlinks=False):
            scope, _, mark = name.partition(".overlay.")
            if scope in ("trusted", "user") and mark in _UNSUPPORTED_MARKS:
                raise StoreError(
                    f"`{printable(entry.path)}` carries overlay's `{mark}` mark",
                    hint="mount the overlay with `redirect_dir=off` and `metacopy=off`",
                )


def matcher(globs: Sequence[str]) -> Callable[[str], bool]:
    """A function that says whether a path matches one of *globs*."""
    if not globs:
        return lambda path: False
    pattern = re.compile("|".join(f"(?:{_regex(glob)})" for glob in globs), re.DOTALL)
    return lambda path: pattern.fullmatch(path) is not None


def _regex(glob: str) -> str:
    return re.sub(r"\*\*/?|.", lambda part: _PATTERNS.get(part[0]) or re.escape(part[0]), glob, flags=re.DOTALL)
