"""Tree: the manifest of a layer. What a layer *is*; the directory beside it shows as much of it as privileges allow.

One TreeEntry a path: type, mode, owner, mtime, xattrs, content digest. A layer's tar stream, digest and check are made from
the manifest (`archive.py`), so an ordinary user who cannot chown gets the same digests as root. The root directory itself has
no entry: it is always 0755, 0:0.

A deletion is an entry of type `whiteout`, a replaced directory one with `opaque` set. On disk they are overlayfs's: a character
device 0/0 and the xattr `trusted.overlay.opaque=y` or, in a user namespace, `user.overlay.opaque=y` (kernel:
Documentation/filesystems/overlayfs.rst). In a tar stream they are OCI's (image-spec, layer.md, "Whiteouts").
"""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Iterable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

from runtime.errors import BadContent, StoreError
from runtime.light_dataclasses import dataclass, field, fields, replace

LAYER_MTIME_S = 315_619_200
"""1980-01-02T00:00:00Z; the value that `runtime.build.plan` gives to every layer (a test holds the two together)."""

EntryType = Literal["file", "dir", "symlink", "hardlink", "char", "block", "fifo", "whiteout"]
_TYPES: tuple[EntryType, ...] = ("file", "dir", "symlink", "hardlink", "char", "block", "fifo", "whiteout")

OPAQUE_XATTRS = ("trusted.overlay.opaque", "user.overlay.opaque")
_KEPT_XATTRS = ("user.", "security.capability")
_OVERLAY_XATTRS = ("user.overlay.", "trusted.overlay.")


@dataclass(frozen=True, slots=True)
class TreeEntry:
    """One path of a layer. Fields that the type has no use for keep their default."""

    path: str
    """Relative, `/` between parts, no `.` or `..`; bytes that aren't UTF-8 are surrogate escapes, as in os.fsdecode."""
    type: EntryType
    mode: int = 0
    """Permission bits with setuid, setgid and sticky: `0o7777` at most."""
    uid: int = 0
    gid: int = 0
    mtime: int = LAYER_MTIME_S
    xattrs: tuple[tuple[str, bytes], ...] = ()
    device: tuple[int, int] | None = None
    link: str = ""
    """Target of a symlink (as is), or path of the file that a hard link shares."""
    size: int = 0
    sha256: str = ""
    """64 hex digits of a file's content; empty = not hashed yet (`archive.digest_tree` fills it in)."""
    opaque: bool = False


_DEFAULTS = [(field.name, field.default) for field in fields(TreeEntry) if field.name not in ("path", "type")]


@dataclass(frozen=True, slots=True)
class Tree:
    """Entries sorted by path, each path once, parents before children."""

    entries: tuple[TreeEntry, ...] = field(default=())

    @classmethod
    def of(cls, entries: Iterable[TreeEntry]) -> Tree:
        """Sort *entries*. Raises BadContent when a path comes twice."""
        ordered = sorted(entries, key=_path_of)
        for before, after in pairwise(ordered):
            if before.path == after.path:
                raise BadContent(f"two entries for `{printable(after.path)}` in one layer")
        return cls(tuple(_first_name_owns(ordered)))

    def __iter__(self) -> Iterator[TreeEntry]:
        return iter(self.entries)

    def __len__(self) -> int:
        return len(self.entries)


def _path_of(entry: TreeEntry) -> str:
    return entry.path


def printable(path: str) -> str:
    """*path* as it can be printed: surrogate escapes and control characters become `\\x..`."""
    return path.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace").encode("unicode_escape").decode()


def parents_of(path: str) -> Iterator[str]:
    """The directories that *path* lies in, the nearest first."""
    while "/" in path:
        path = path.rpartition("/")[0]
        yield path


def _first_name_owns(ordered: list[TreeEntry]) -> Iterator[TreeEntry]:
    """Of several names of one file the first is the file and the others link to it, whatever the source's order was:
    a tar reader needs the file first, and one tree must have one form. A link has the file's mode and owner, since
    some readers (Docker) set them from the last name that they meet."""
    if not any(entry.type == "hardlink" for entry in ordered):
        yield from ordered
        return
    by_path = {entry.path: entry for entry in ordered}
    first: dict[str, str] = {}
    for entry in ordered:
        if entry.type == "hardlink":
            if entry.link not in by_path or by_path[entry.link].type != "file":
                raise BadContent(
                    f"hard link `{printable(entry.path)}` to `{printable(entry.link)}`, which is no file of this layer"
                )
            first[entry.link] = min(entry.path, first.get(entry.link, entry.link))
    for entry in ordered:
        source = entry.link if entry.type == "hardlink" else entry.path
        if source not in first:
            yield entry
        elif first[source] == entry.path:
            yield replace(by_path[source], path=entry.path)
        else:
            file = by_path[source]
            yield replace(file, path=entry.path, type="hardlink", link=first[source], size=0, sha256="")


def scan(root: Path) -> Tree:
    """The tree of directory *root*, in the on-disk form of a layer. Contents are not read: `sha256` stays empty.

    Every mtime is LAYER_MTIME_S: when a file was written is no part of what it is. Sockets are left out. As root the store is
    0-based: owners on disk are those in the container. As an ordinary user everything on disk is the caller's, who is root in
    the container; what the modes forbid its owner to read is made readable, and the tree has the mode that it had.
    """
    as_root = os.geteuid() == 0
    first_names: dict[tuple[int, int], str] = {}
    entries: list[TreeEntry] = []
    pending = [""]
    while pending:
        directory = pending.pop()
        with os.scandir(os.path.join(root, directory)) as found:
            for item in found:
                path = f"{directory}/{item.name}" if directory else item.name
                status = item.stat(follow_symlinks=False)
                if not as_root:
                    _let_owner_read(item.path, status.st_mode)
                entry = _entry(item.path, path, status, (status.st_uid, status.st_gid) if as_root else (0, 0))
                if entry is None:
                    continue
                if entry.type == "dir":
                    pending.append(path)
                elif status.st_nlink > 1 and entry.type == "file":
                    first = first_names.setdefault((status.st_dev, status.st_ino), path)
                    if first != path:
                        entry = TreeEntry(path, "hardlink", link=first)
                entries.append(entry)
    return Tree.of(entries)


def _let_owner_read(location: str, mode: int) -> None:
    wanted = {stat.S_IFDIR: 0o700, stat.S_IFREG: 0o400}.get(stat.S_IFMT(mode), 0)
    if mode & wanted != wanted:
        os.chmod(location, stat.S_IMODE(mode) | wanted)


def _entry(location: str, path: str, status: os.stat_result, owner: tuple[int, int]) -> TreeEntry | None:
    kind = stat.S_IFMT(status.st_mode)
    device = (os.major(status.st_rdev), os.minor(status.st_rdev))
    if kind == stat.S_IFCHR and device == (0, 0):
        # The kernel makes a whiteout as whoever mounted the overlay: its owner and mode mean nothing.
        return TreeEntry(path, "whiteout")
    if kind == stat.S_IFSOCK:
        return None
    mode = stat.S_IMODE(status.st_mode)
    xattrs, opaque = _xattrs(location, kind)
    match kind:
        case stat.S_IFREG:
            return TreeEntry(path, "file", mode, *owner, xattrs=xattrs, size=status.st_size)
        case stat.S_IFDIR:
            return TreeEntry(path, "dir", mode, *owner, xattrs=xattrs, opaque=opaque)
        case stat.S_IFLNK:
            return TreeEntry(path, "symlink", 0o777, *owner, link=os.readlink(location))
        case stat.S_IFIFO:
            return TreeEntry(path, "fifo", mode, *owner)
        case stat.S_IFCHR:
            return TreeEntry(path, "char", mode, *owner, device=device)
        case stat.S_IFBLK:
            return TreeEntry(path, "block", mode, *owner, device=device)
    raise StoreError(f"`{printable(location)}` is of no known file type")


def _xattrs(location: str, kind: int) -> tuple[tuple[tuple[str, bytes], ...], bool]:
    if kind not in (stat.S_IFREG, stat.S_IFDIR):
        return (), False
    names = os.listxattr(location, follow_symlinks=False)
    if not names:
        return (), False
    opaque = any(name in names and os.getxattr(location, name, follow_symlinks=False) == b"y" for name in OPAQUE_XATTRS)
    kept = [name for name in sorted(names) if is_layer_xattr(name)]
    return tuple((name, os.getxattr(location, name, follow_symlinks=False)) for name in kept), opaque


def is_layer_xattr(name: str) -> bool:
    """Whether an xattr is content. Labels and ACLs are the host's, and overlay's own marks have their place in TreeEntry."""
    return name.startswith(_KEPT_XATTRS) and not name.startswith(_OVERLAY_XATTRS)


def is_overlay_xattr(name: str) -> bool:
    return name.startswith(_OVERLAY_XATTRS)


def write_tree(tree: Tree, path: Path) -> None:
    """Write *tree* as `tree.jsonl`: one JSON object a line, fields at their default left out."""
    with path.open("w", encoding="ascii") as file:
        file.writelines(json.dumps(_document(entry), separators=(",", ":")) + "\n" for entry in tree)


def read_tree(path: Path) -> Tree:
    """The tree that `write_tree` wrote. Raises StoreError when the file is damaged."""
    try:
        with path.open(encoding="ascii") as file:
            return Tree(tuple(_from_document(json.loads(line)) for line in file))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise StoreError(f"cannot read the layer manifest `{path}`: {error}") from error


def find_entry(manifest: Path, path: str) -> TreeEntry | None:
    """The entry for *path* of the tree in *manifest*, found without reading the others: there may be many."""
    try:
        content = b"\n" + manifest.read_bytes()
        start = content.find(b'\n{"path":%b,' % json.dumps(path).encode())
        return None if start < 0 else _from_document(json.loads(content[start + 1 : content.find(b"\n", start + 1)]))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise StoreError(f"cannot read the layer manifest `{manifest}`: {error}") from error


def _document(entry: TreeEntry) -> dict[str, Any]:
    document: dict[str, Any] = {"path": entry.path, "type": entry.type}
    for name, default in _DEFAULTS:
        if (value := getattr(entry, name)) != default:
            document[name] = value
    if entry.xattrs:
        document["xattrs"] = {name: value.hex() for name, value in entry.xattrs}
    return document


def _from_document(document: dict[str, Any]) -> TreeEntry:
    kind = document["type"]
    if kind not in _TYPES:
        raise ValueError(f"unknown entry type `{kind}`")
    if "xattrs" in document:
        document["xattrs"] = tuple((name, bytes.fromhex(value)) for name, value in document["xattrs"].items())
    if "device" in document:
        major, minor = document["device"]
        document["device"] = (major, minor)
    return TreeEntry(**document)
