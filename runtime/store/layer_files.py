"""The directory of a layer, brought into its one form: modes, owners, mtimes and xattrs as the manifest says.

An ordinary user can neither chown nor set some modes and xattrs usefully; then the manifest is the truth and the directory
shows what it can. Contents are not touched.
"""

from __future__ import annotations

import errno
import os
from pathlib import Path

from runtime.errors import StoreError
from runtime.layer.tree import OPAQUE_XATTRS, Tree, TreeEntry, is_overlay_xattr, shown


def settle(root: Path, tree: Tree) -> None:
    """Give every path of *tree* below *root* its owner, mode, mtime and xattrs. Deepest first, so that a directory's
    mtime and mode are set after its content was touched."""
    as_root = os.geteuid() == 0
    base = os.fspath(root)
    for entry in reversed(tree.entries):
        if entry.type in ("hardlink", "whiteout", "char", "block"):
            continue
        location = f"{base}/{entry.path}"
        try:
            _settle_entry(location, entry, as_root)
        except OSError as error:
            raise StoreError(f"cannot set the attributes of `{shown(location)}`: {error.strerror}") from error
    if as_root:
        os.chown(base, 0, 0)
    os.chmod(base, 0o755)
    _forget_overlay_marks(base)


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


def _reachable(entry: TreeEntry) -> int:
    # Root in a container reads everything; here it is the caller, who is bound by the bits of the owner.
    return entry.mode | (0o700 if entry.type == "dir" else 0o400)


def _set_xattrs(location: str, entry: TreeEntry) -> None:
    for name, value in entry.xattrs:
        try:
            os.setxattr(location, name, value, follow_symlinks=False)
        except OSError as error:
            # EPERM: security.capability wants CAP_SETFCAP. ENOTSUP: the file system has no user xattrs.
            if error.errno not in (errno.EPERM, errno.ENOTSUP):
                raise


def _forget_overlay_marks(location: str) -> None:
    """Remove `overlay.origin`, `overlay.impure` and the like: they are about the overlay that made them."""
    for name in os.listxattr(location, follow_symlinks=False):
        if is_overlay_xattr(name):
            os.removexattr(location, name, follow_symlinks=False)
