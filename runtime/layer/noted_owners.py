"""Owners that a build step set without the privilege to set them: notes on its files become owners in the layer's manifest.

The notes are taken while the step runs (`runtime.container.owner_reports`): an xattr on a file or directory, and a list for what
can have no xattr. They are no part of the layer.

The step couldn't *see* owners: stat(2) showed it 0:0 for every file, so a program that gives a new file the owner of the old one
(sed -i, useradd's backups) said 0:0. A note of 0:0 therefore takes no file away from whom it belongs to by the layers below.
"""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

from runtime.layer.tree import Tree, TreeEntry
from runtime.light_dataclasses import replace

NOTE = "user.launch.owner"
"""`UID:GID`; -1 is an id that wasn't changed."""

_LARGEST_ID = 0xFFFFFFFE


def apply_noted_owners(tree: Tree, upper: Path, others: bytes) -> Tree:
    """*tree*, scanned from directory *upper*, with the owners that were noted; the notes are removed from *upper*.

    *others* is the list, as `owner_reports.OwnerReports.document` makes it; empty when there is none.
    """
    listed: Listed = {}
    for inode, path, uid, gid in json.loads(others or b"[]"):
        listed[inode] = listed[path] = uid, gid
    return Tree.of(_with_owner(entry, os.path.join(upper, entry.path), listed) for entry in tree)


def owner_in(note: bytes) -> tuple[int, int]:
    """The ids of a NOTE. A step may write the xattr itself: what is none of ours says nothing."""
    found = re.fullmatch(rb"(-1|[0-9]{1,10}):(-1|[0-9]{1,10})", note)
    uid, gid = (-1, -1) if found is None else (int(found[1]), int(found[2]))
    return (uid, gid) if max(uid, gid) <= _LARGEST_ID else (-1, -1)


Listed = dict[int | str, tuple[int, int]]
"""Inode number, or path for what a lower layer had: copied up, it has another number. → owner"""


def _with_owner(entry: TreeEntry, location: str, listed: Listed) -> TreeEntry:
    if entry.type in ("whiteout", "hardlink"):
        return entry
    note = dict(entry.xattrs).get(NOTE)
    if note is not None:
        os.removexattr(location, NOTE, follow_symlinks=False)
        entry = replace(entry, xattrs=tuple(each for each in entry.xattrs if each[0] != NOTE))
        return _change_owner(entry, *owner_in(note))
    owner = (listed.get(os.lstat(location).st_ino) or listed.get(entry.path)) if listed else None
    return entry if owner is None else _change_owner(entry, *owner)


def _change_owner(entry: TreeEntry, uid: int, gid: int) -> TreeEntry:
    if (uid, gid) == (0, 0):
        return entry
    return replace(entry, uid=entry.uid if uid == -1 else uid, gid=entry.gid if gid == -1 else gid)
