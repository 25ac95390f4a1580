"""Detached mounts (Documentation/filesystems/mount_api.rst, Linux 5.2 and later): made by descriptor, set up, then attached.

A mount that is complete before it is attached is never seen half done, and attaching to a descriptor that `safe_open` resolved
needs no path that an image could have replaced by a link. What is mounted where is `runtime.rootfs`. The calls themselves are at
the end; failures are `libc.KernelError`.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Mapping

from runtime.kernel import libc
from runtime.kernel.libc import AT_FDCWD, system_call

MS_REC = 0x4000
MS_PRIVATE = 1 << 18
MNT_DETACH = 2
MNT_EXPIRE = 4

ATTR_RDONLY = 0x1
ATTR_NOSUID = 0x2
ATTR_NODEV = 0x4
ATTR_NOEXEC = 0x8
ATTR_IDMAP = 0x100000

# Numbers of the calls: asm-generic/unistd.h, the same on every architecture.
_OPEN_TREE = 428
_MOVE_MOUNT = 429
_FSOPEN = 430
_FSCONFIG = 431
_FSMOUNT = 432
_MOUNT_SETATTR = 442

_OPEN_TREE_CLONE = 1
_MOVE_MOUNT_F_EMPTY_PATH = 0x4
_MOVE_MOUNT_T_EMPTY_PATH = 0x40

_SET_FLAG = 0
_SET_STRING = 1
_SET_FD = 5
_CREATE = 6

FILE_SYSTEM_NAMES = {
    0x6969: "nfs",
    0x794C7630: "overlay",
    0x65735546: "fuse",
    0x0BD00BD0: "lustre",
    0xEF53: "ext4",
    0x58465342: "xfs",
    0x9123683E: "btrfs",
    0x01021994: "tmpfs",
    0xFF534D42: "cifs",
    0xFE534D42: "smb3",
    0x2FC12FC1: "zfs",
    0x47504653: "gpfs",
    0x00C36400: "ceph",
    0x19830326: "beegfs",
    0x01021997: "9p",
}
"""`f_type` of statfs(2) → name, for those that people keep data on (linux/magic.h)."""

CGROUP2_MAGIC = 0x63677270


def file_system_name(path: str | os.PathLike[str]) -> str:
    """`ext4`, `nfs`, … or the number in hex."""
    kind = libc.statfs_type(path)
    return FILE_SYSTEM_NAMES.get(kind, f"{kind:#x}")


def make_private() -> None:
    """From now on nothing mounted in this mount namespace is seen in another, nor the reverse."""
    libc.mount("none", "/", flags=MS_REC | MS_PRIVATE)


def pivot_to_working_directory() -> None:
    """Make the working directory, the top of a mount, this process's `/`, and take away what was (pivot_root(2))."""
    old = os.open("/", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    # Old root and new root are the same directory, so no place for the old one is needed (there, "pivot_root(".", ".")").
    libc.pivot_root(".", ".")
    # The old root lies over the new one now. Private first: what is unmounted here must stay mounted elsewhere.
    os.fchdir(old)
    libc.mount("", ".", "", MS_REC | MS_PRIVATE)
    libc.umount(".", MNT_DETACH)
    os.close(old)
    os.chdir("/")


def clone_tree(path: str | os.PathLike[str], *, at: int = AT_FDCWD, recursive: bool = False) -> int:
    """A detached copy of the mount at *path* (what `mount --bind` attaches), with submounts if *recursive*."""
    flags = _OPEN_TREE_CLONE | os.O_CLOEXEC
    if at != AT_FDCWD and not os.fspath(path):
        flags |= libc.AT_EMPTY_PATH
    return _open_tree(path, flags | (libc.AT_RECURSIVE if recursive else 0), at=at)


def attach(tree: int, target: int) -> None:
    """Attach a detached *tree* over the file or directory that the descriptor *target* names."""
    _move_mount(tree, target, "", _MOVE_MOUNT_F_EMPTY_PATH | _MOVE_MOUNT_T_EMPTY_PATH)


def set_attributes(tree: int, attributes: int = 0, *, clear: int = 0, propagation: int = 0, recursive: bool = False) -> None:
    """Set ATTR_* bits on a mount, and *clear* others; *propagation* is one of MS_PRIVATE and its kind."""
    flags = libc.AT_EMPTY_PATH | (libc.AT_RECURSIVE if recursive else 0)
    mount_setattr(tree, "", flags, set_attr=attributes, clear=clear, propagation=propagation)


def id_map(tree: int, userns: int, *, recursive: bool = False) -> None:
    """Show a detached mount's owners through the map of the user namespace *userns*. Raises KernelError EINVAL where the file
    system can't, EPERM where the mount is mapped already."""
    flags = libc.AT_EMPTY_PATH | (libc.AT_RECURSIVE if recursive else 0)
    mount_setattr(tree, "", flags, set_attr=ATTR_IDMAP, userns=userns)


class FileSystem:
    """A file system that is being configured (fsopen(2)); a context manager that closes its descriptor."""

    def __init__(self, fstype: str) -> None:
        self._fd = _fsopen(fstype)

    def set_string(self, key: str, value: str) -> None:
        _fsconfig(self._fd, _SET_STRING, key, value)

    def set_flag(self, key: str) -> None:
        _fsconfig(self._fd, _SET_FLAG, key)

    def set_fd(self, key: str, fd: int) -> None:
        _fsconfig(self._fd, _SET_FD, key, None, fd)

    def create(self, attributes: int = 0) -> int:
        """Create the superblock; a detached mount of it with ATTR_* *attributes*."""
        _fsconfig(self._fd, _CREATE)
        return _fsmount(self._fd, attributes)

    def __enter__(self) -> FileSystem:
        return self

    def __exit__(self, *_failure: object) -> None:
        os.close(self._fd)


def new_mount(fstype: str, options: Mapping[str, str | None] | None = None, *, attributes: int = 0) -> int:
    """A detached mount of a new file system; an option with the value None is a flag."""
    with FileSystem(fstype) as filesystem:
        # `source` is what stands first in a line of mountinfo; without it the kernel shows `none`.
        filesystem.set_string("source", fstype)
        for key, value in (options or {}).items():
            if value is None:
                filesystem.set_flag(key)
            else:
                filesystem.set_string(key, value)
        return filesystem.create(attributes)


def _open_tree(path: str | os.PathLike[str], flags: int, *, at: int = AT_FDCWD) -> int:
    """open_tree(2)."""
    return system_call(_OPEN_TREE, at, os.fsencode(path), flags, shown=f"open_tree({at}, {os.fspath(path)!r}, {flags:#x})")


def _move_mount(tree: int, target: int, path: str = "", flags: int = 0) -> None:
    """move_mount(2): attach the detached *tree* at *path* below the descriptor *target*."""
    shown = f"move_mount({tree}, '', {target}, {path!r}, {flags:#x})"
    system_call(_MOVE_MOUNT, tree, b"", target, path.encode(), flags, shown=shown)


def mount_setattr(
    fd: int, path: str, flags: int, *, set_attr: int = 0, clear: int = 0, propagation: int = 0, userns: int = 0
) -> None:
    """mount_setattr(2)."""
    attributes = struct.pack("QQQQ", set_attr, clear, propagation, userns)
    shown = f"mount_setattr({fd}, {path!r}, {flags:#x}, set={set_attr:#x}, clear={clear:#x}, userns={userns})"
    system_call(_MOUNT_SETATTR, fd, path.encode(), flags, attributes, len(attributes), shown=shown)


def _fsopen(fstype: str) -> int:
    """fsopen(2) with FSOPEN_CLOEXEC."""
    return system_call(_FSOPEN, fstype.encode(), 1, shown=f"fsopen({fstype!r}, 0x1)")


def _fsconfig(fd: int, command: int, key: str | None = None, value: str | None = None, aux: int = 0) -> None:
    """fsconfig(2). On failure the file system's own words are read from *fd* into the error."""
    words = (None if key is None else key.encode(), None if value is None else os.fsencode(value))
    shown = f"fsconfig({fd}, {command}, {key!r}, {value!r}, {aux})"
    system_call(_FSCONFIG, fd, command, *words, aux, shown=shown, detail=lambda: _fs_words(fd))


def _fs_words(fd: int) -> str:
    """What the file system wrote into its context's log, one message a read."""
    words: list[str] = []
    try:
        while len(words) < 8:
            words.append(os.read(fd, 4096).decode(errors="replace").strip())
    except OSError:  # ENODATA: no more messages
        return "; ".join(words)
    return "; ".join(words)


def _fsmount(fd: int, attributes: int = 0) -> int:
    """fsmount(2) with FSMOUNT_CLOEXEC: a detached mount."""
    return system_call(_FSMOUNT, fd, 1, attributes, shown=f"fsmount({fd}, {attributes:#x})")
