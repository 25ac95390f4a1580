"""The directory of a layer, brought into its one form: modes, owners, mtimes and xattrs as the manifest says.

An ordinary user can neither chown nor set some modes and xattrs usefully; then the manifest is the truth and the directory
shows what it can. Contents are not touched.
"""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

from runtime.errors import StoreError
from runtime.layer.tree import OPAQUE_XATTRS, Tree, TreeEntry, is_overlay_xattr, printable

_NEVER = ("hardlink", "whiteout", "char", "block")


def settle(root: Path, tree: Tree, *, files_are_settled: bool = False) -> None:
    """Give every path of *tree* below *root* its owner, mode, mtime and xattrs. Deepest first, so that a directory's
    mtime and mode are set after its content was touched. Regular files may have been settled when they were written."""
    as_root = os.geteuid() == 0
    base = os.fspath(root)
    for entry in reversed(tree.entries):
        if entry.type in _NEVER or (files_are_settled and entry.type == "file"):
            continue
        location = f"{base}/{entry.path}"
        try:
            _settle_entry(location, entry, as_root)
        except OSError as error:
            raise StoreError(f"cannot set the attributes of `{printable(location)}`: {error.strerror}") from error
    if as_root:
        os.chown(base, 0, 0)
    os.chmod(base, 0o755)
    _forget_overlay_marks(base)


def settle_new_file(descriptor: int, entry: TreeEntry) -> None:
    """The same for a file that was just made, by its descriptor: a third of the calls, and no path to be looked up."""
    as_root = os.geteuid() == 0
    if as_root:
        os.fchown(descriptor, entry.uid, entry.gid)
    os.fchmod(descriptor, entry.mode if as_root else _reachable(entry))
    if entry.xattrs:
        _set_xattrs(descriptor, entry)
    os.utime(descriptor, (entry.mtime, entry.mtime))


def is_settled(status: os.stat_result, entry: TreeEntry) -> bool:
    """Whether a regular file without xattrs has all that `settle_new_file` gives to one for *entry*, and its size."""
    return status.st_mtime == entry.mtime and _difference(status, entry, os.geteuid() == 0) is None


def _settle_entry(location: str, entry: TreeEntry, as_root: bool) -> None:
    if as_root:
        # Before chmod: a change of owner clears setuid and setgid (chown(2)).
        os.chown(location, entry.uid, entry.gid, follow_symlinks=False)
    if entry.type != "symlink":
        os.chmod(location, entry.mode if as_root else _reachable(entry))
        if entry.type in ("dir", "file"):
            _forget_overlay_marks(location)
        if entry.xattrs:
            _set_xattrs(location, entry)
        if entry.opaque:
            # Exactly the mark that the overlay of this caller reads: `trusted.` for root, `user.` in a user namespace.
            os.setxattr(location, OPAQUE_XATTRS[0] if as_root else OPAQUE_XATTRS[1], b"y", follow_symlinks=False)
    os.utime(location, (entry.mtime, entry.mtime), follow_symlinks=False)


def first_difference(tree: Tree, root: Path) -> str | None:
    """The first thing in which the directory *root* isn't what *tree* says, contents of files aside; None when there is none."""
    made = {entry.path: entry for entry in tree if entry.type not in ("char", "block")}
    # Root may look into the store of somebody who could not chown.
    has_owners = os.geteuid() == 0 and os.lstat(root).st_uid == 0
    for directory, names, files in os.walk(root):
        below = os.path.relpath(directory, root)
        for name in (*names, *files):
            path = name if below == "." else f"{below}/{name}"
            entry = made.pop(path, None)
            if entry is None:
                return f"`{printable(path)}` is there, and no part of it"
            location = os.path.join(directory, name)
            what = _difference(os.lstat(location), entry, has_owners)
            if what is None and entry.type == "symlink" and os.readlink(location) != entry.link:
                what = "another target"
            if what is not None:
                return f"`{printable(path)}` has {what}"
    missing = next(iter(made), None)
    return None if missing is None else f"`{printable(missing)}` is missing"


_KINDS = {"file": stat.S_IFREG, "hardlink": stat.S_IFREG, "dir": stat.S_IFDIR, "symlink": stat.S_IFLNK, "fifo": stat.S_IFIFO}


def _difference(status: os.stat_result, entry: TreeEntry, has_owners: bool) -> str | None:
    if stat.S_IFMT(status.st_mode) != _KINDS.get(entry.type, stat.S_IFCHR):
        return "another type"
    if entry.type in ("whiteout", "hardlink", "symlink"):
        return None
    if stat.S_IMODE(status.st_mode) != (entry.mode if has_owners else _reachable(entry)):
        return f"mode {stat.S_IMODE(status.st_mode):o}"
    if has_owners and (status.st_uid, status.st_gid) != (entry.uid, entry.gid):
        return f"owner {status.st_uid}:{status.st_gid}"
    if entry.type == "file" and status.st_size != entry.size:
        return f"{status.st_size} bytes"
    return None


def _reachable(entry: TreeEntry) -> int:
    # Root in a container reads everything; here it is the caller, who is bound by the bits of the owner.
    return entry.mode | (0o700 if entry.type == "dir" else 0o400)


def _set_xattrs(location: str | int, entry: TreeEntry) -> None:
    for name, value in entry.xattrs:
        try:
            os.setxattr(location, name, value, follow_symlinks=isinstance(location, int))
        except OSError as error:
            # EPERM: security.capability wants CAP_SETFCAP. ENOTSUP: the file system has no user xattrs.
            if error.errno not in (errno.EPERM, errno.ENOTSUP):
                raise


def _forget_overlay_marks(location: str) -> None:
    """Remove `overlay.origin`, `overlay.impure` and the like: they are about the overlay that made them."""
    for name in os.listxattr(location, follow_symlinks=False):
        if is_overlay_xattr(name):
            os.removexattr(location, name, follow_symlinks=False)
