"""What a container sees of the host's files, and its files in memory: attached *before* its user namespace is entered.

Mounts that a new user namespace has only copied are locked: its root can neither unmount them nor clear their read-only flag
(mount_namespaces(7), "Restrictions on mount namespaces"). Attached from inside, they could be.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Sequence

from runtime.errors import ContainerError
from runtime.kernel import mounts
from runtime.rootfs.memory_files import MemoryFiles
from runtime.rootfs.targets import Root
from runtime.rootfs.wanted import BindMount, TmpfsFile, TmpfsMount

_RESERVED = ("/proc", "/sys", "/dev")

MapFor = Callable[[int, int], int]
"""(uid, gid on disk that container root's files have) → user namespace descriptor with such a map."""


def attach_host_mounts(
    root: Root, wanted: Sequence[BindMount | TmpfsMount], *, map_for: MapFor | None, owner: tuple[int, int] | None
) -> list[str]:
    """Attach *wanted*, outer targets first. Returns warnings. With *map_for* binds are id-mapped."""
    warnings: list[str] = []
    for one in sorted(wanted, key=lambda one: one.target.rstrip("/").count("/")):
        _check_target(one.target)
        if isinstance(one, TmpfsMount):
            root.attach(_tmpfs(one, owner), one.target)
        else:
            root.attach(_bind(one, map_for, warnings), one.target, directory=one.source.is_dir())
    return warnings


def attach_files(root: Root, files: Sequence[TmpfsFile], *, owner: tuple[int, int] | None) -> None:
    """Lay *files* over their targets from one tmpfs: they are never on disk."""
    if not files:
        return
    with MemoryFiles(root) as memory:
        for file in files:
            _check_target(file.target)
            root.attach(memory.tree(file.content, mode=file.mode, owner=owner), file.target, directory=False)


def _check_target(target: str) -> None:
    if not target.startswith("/") or ".." in target.split("/") or not target.strip("/"):
        raise ContainerError(f"not a place for a mount: `{target}`", hint="an absolute path without `..`, below `/`")
    for reserved in _RESERVED:
        if target == reserved or target.startswith(reserved + "/"):
            raise ContainerError(f"cannot mount at `{target}`: `{reserved}` is the container's own")


def _tmpfs(wanted: TmpfsMount, owner: tuple[int, int] | None) -> int:
    options: dict[str, str | None] = {"mode": f"{wanted.mode:o}"}
    if wanted.size_bytes is not None:
        options["size"] = str(wanted.size_bytes)
    if owner is not None:
        options |= {"uid": str(owner[0]), "gid": str(owner[1])}
    return mounts.new_mount("tmpfs", options, attributes=mounts.ATTR_NOSUID | mounts.ATTR_NODEV)


def _bind(wanted: BindMount, map_for: MapFor | None, warnings: list[str]) -> int:
    """A detached copy of the mount at the source, with what is mounted below it."""
    try:
        found = os.stat(wanted.source)
        tree = mounts.clone_tree(wanted.source, recursive=True)
    except OSError as error:
        raise ContainerError(f"cannot mount `{wanted.source}` at `{wanted.target}`: {os.strerror(error.errno or 0)}") from error
    try:
        if map_for is not None:
            uid, gid = (found.st_uid, found.st_gid) if wanted.owner_is_caller else (0, 0)
            _show_owner(wanted, tree, map_for(uid, gid), warnings)
        attributes = mounts.ATTR_NOSUID | mounts.ATTR_NODEV
        attributes |= mounts.ATTR_RDONLY if wanted.readonly else 0
        attributes |= 0 if wanted.executable else mounts.ATTR_NOEXEC
        mounts.set_attributes(tree, attributes, recursive=True)
    except BaseException:
        os.close(tree)
        raise
    return tree


def _show_owner(wanted: BindMount, tree: int, userns: int, warnings: list[str]) -> None:
    try:
        mounts.id_map(tree, userns, recursive=True)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.EPERM, errno.EOPNOTSUPP):
            raise
        kind = mounts.file_system_name(wanted.source)
        if not wanted.readonly:
            raise ContainerError(
                f"`{wanted.source}` can't be mounted writable at `{wanted.target}`: its file system ({kind}), or one mounted "
                "below it, can't show other owners (id-mapped mounts)",
                hint="mount it read-only, copy the data to a local disk, or run as the ordinary user whose files they are",
            ) from error
        warnings.append(
            f"`{wanted.source}` ({kind}) is mounted at `{wanted.target}` with its own owners: only what everybody may read is "
            "readable"
        )


def directory_for(root: Root, path: str, *, owner: tuple[int, int] | None, mode: int = 0o755) -> None:
    """Make the directory *path* if the image has none (working directory, HOME)."""
    os.close(root.directory(path, owner=owner, mode=mode))
