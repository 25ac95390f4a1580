"""What a command changed, as the tree of a layer: owners that a build with one id could not set, and nothing that differs from
run to run (`run_residue.py`)."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from runtime.build.image_users import resolve_user
from runtime.build.layers_below import LayersBelow
from runtime.build.plan import RunCommand
from runtime.build.run_residue import remove_sockets, residue_globs, settle_bytecode, warn_of_host_keys
from runtime.container.run_once import OWNER_NOTES
from runtime.layer.diff import diff
from runtime.layer.noted_owners import with_noted_owners
from runtime.layer.tree import Tree, TreeEntry


def changed_tree(upper: Path, step: RunCommand, layers: Sequence[Path], *, tell: Callable[[str], None] | None = None) -> Tree:
    """The tree of directory *upper*, which holds what *step* changed on *layers* (bottom first). *tell* gets warnings."""
    below = LayersBelow(layers)
    remove_sockets(upper)
    if tell is not None:
        warn_of_host_keys(upper, tell)
    tree = diff(upper, drop=(*residue_globs(), *step.drop))
    settle_bytecode(upper, tree)
    if os.geteuid() != 0:
        user = resolve_user(step.user, layers)
        tree = _owned(tree, below, (user.uid, user.gid))
        tree = with_noted_owners(tree, upper, (upper.parent / OWNER_NOTES).read_bytes())
    return Tree(tuple(_without_untouched(tree, below, upper)))


def _owned(tree: Tree, below: LayersBelow, user: tuple[int, int]) -> Tree:
    """With one id everything on disk is the caller's: what was there before keeps its owner, what is new is the command's."""
    entries = []
    for entry in tree:
        if entry.type != "whiteout":
            before = below.entry(entry.path) if below.kind(entry.path) is not None else None
            uid, gid = user if before is None else (before.uid, before.gid)
            entry = replace(entry, uid=uid, gid=gid)
        entries.append(entry)
    return Tree(tuple(entries))


def _without_untouched(entries: Iterable[TreeEntry], below: LayersBelow, upper: Path) -> list[TreeEntry]:
    """Without directories that are as they were and hold nothing new: overlayfs copies the parents of a mount point, which is
    gone by now, or of a file that was made and removed."""
    kept: list[TreeEntry] = []
    needed: set[str] = set()
    for entry in sorted(entries, key=lambda entry: entry.path, reverse=True):
        if entry.type == "dir" and entry.path not in needed and _is_untouched(entry, below):
            os.rmdir(upper / entry.path)
            continue
        needed.add(entry.path.rpartition("/")[0])
        kept.append(entry)
    return kept[::-1]


def _is_untouched(entry: TreeEntry, below: LayersBelow) -> bool:
    if entry.opaque or below.kind(entry.path) != "dir":
        return False
    before = below.entry(entry.path)
    return (entry.mode, entry.uid, entry.gid, entry.xattrs) == (before.mode, before.uid, before.gid, before.xattrs)
