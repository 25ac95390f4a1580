"""A copy of a layer whose owners are a container's ids, where root can't show a layer with other owners: before Linux 5.19, and
on file systems without id-mapped mounts.

It lies beside the layer and goes with it: `LAYER/root` → `LAYER/shifted-UID-GID`. Where the file system shares blocks (btrfs,
xfs) it costs no space. File capabilities are left out: without an id map they would name the host's root.
"""

from __future__ import annotations

import os
from pathlib import Path

from runtime.file_lock import locked
from runtime.kernel.file_data import copy_data
from runtime.rootfs.removal import remove_tree

_LEFT_OUT = ("security.capability",)


def make_shifted_copy(layer: Path, uid: int, gid: int) -> Path:
    """The copy of *layer* with *uid* and *gid* added to every owner; made if there is none. Safe for concurrent callers."""
    copy = layer.parent / f"shifted-{uid}-{gid}"
    if layer.name != "root":  # not a layer of the store: several may share a parent
        copy = layer.parent / f"{layer.name}.shifted-{uid}-{gid}"
    if copy.exists():
        return copy
    with locked(copy.with_name(f"{copy.name}.lock")):
        partial = copy.with_name(f"{copy.name}.partial")
        if not copy.exists():
            if partial.exists():
                remove_tree(partial)  # left by somebody who was killed; we have the lock
            _Copier(layer, partial, uid, gid).run()
            partial.rename(copy)
    return copy


def shift_owners(directory: Path, uid: int, gid: int) -> None:
    """Add *uid* and *gid*, which may be negative, to the owners of *directory* and of everything below it that have not been
    shifted so yet."""
    for folder, names, files in os.walk(directory):
        for name in (".", *names, *files):
            path = os.path.join(folder, name) if name != "." else folder
            if name in names and name != "." and not os.path.islink(path):
                continue  # comes as "." of its own turn
            found = os.lstat(path)
            os.chown(path, _shift(found.st_uid, uid), _shift(found.st_gid, gid), follow_symlinks=False)
            if not os.path.islink(path):
                os.chmod(path, found.st_mode & 0o7777)  # chown takes setuid bits away


def _shift(number: int, by: int) -> int:
    """What a builder laid into a writable directory beforehand is 0-based, beside what a container wrote there."""
    is_shifted = number >= abs(by)
    return number if is_shifted is (by > 0) else number + by


class _Copier:
    def __init__(self, source: Path, target: Path, uid: int, gid: int) -> None:
        self._source = source
        self._target = target
        self._uid = uid
        self._gid = gid
        self._links: dict[int, Path] = {}
        """Inode → first copy, for hard links."""

    def run(self) -> None:
        self._directory(self._source, self._target)

    def _directory(self, source: Path, target: Path) -> None:
        target.mkdir(mode=0o700)
        with os.scandir(source) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    self._directory(Path(entry.path), target / entry.name)
                else:
                    self._file(Path(entry.path), target / entry.name)
        self._dress(source, target)

    def _file(self, source: Path, target: Path) -> None:
        found = source.lstat()
        if found.st_nlink > 1 and found.st_ino in self._links:
            os.link(self._links[found.st_ino], target)
            return
        self._links[found.st_ino] = target
        if source.is_symlink():
            os.symlink(os.readlink(source), target)
        elif source.is_file():
            with source.open("rb") as content, target.open("xb") as copy:
                copy_data(content.fileno(), copy.fileno())
        else:
            os.mknod(target, found.st_mode, found.st_rdev)  # a whiteout, a device, a fifo
        self._dress(source, target)

    def _dress(self, source: Path, target: Path) -> None:
        found = source.lstat()
        os.chown(target, found.st_uid + self._uid, found.st_gid + self._gid, follow_symlinks=False)
        for name in os.listxattr(source, follow_symlinks=False):
            if name not in _LEFT_OUT:
                os.setxattr(target, name, os.getxattr(source, name, follow_symlinks=False), follow_symlinks=False)
        if not source.is_symlink():
            os.chmod(target, found.st_mode & 0o7777)
        os.utime(target, ns=(found.st_mtime_ns, found.st_mtime_ns), follow_symlinks=False)
