"""What a container sees of the host's files, and its files in memory: attached *before* its user namespace is entered.

Mounts that a new user namespace has only copied are locked: its root can neither unmount them nor clear their read-only flag
(mount_namespaces(7), "Restrictions on mount namespaces"). Attached from inside, they could be.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Sequence

from runtime.errors import ContainerError
from runtime.kernel import mounts
from runtime.kernel.safe_open import open_in_root
from runtime.rootfs.memory_files import MemoryFiles
from runtime.rootfs.mount_spec import BindMount, LayersMount, TmpfsFile, TmpfsMount
from runtime.rootfs.overlay import STRATEGIES, LayerMaps, OverlayStrategy, mount_overlay
from runtime.rootfs.owners import lend
from runtime.rootfs.targets import Root

_RESERVED = ("/proc", "/sys", "/dev")

MapFor = Callable[..., int]
"""(uid, gid on disk, whose files those are in the container: root's unless given) → user namespace descriptor with such a map."""


OwnerFor = Callable[[int, int], tuple[int, int] | None]
"""Ids of the container → whom its maker chowns to; None leaves it to the kernel."""


def attach_host_mounts(
    root: Root,
    wanted: Sequence[BindMount | TmpfsMount | LayersMount],
    *,
    map_for: MapFor | None,
    owner: tuple[int, int] | None,
    layer_maps: LayerMaps,
    strategies: Sequence[OverlayStrategy] = STRATEGIES,
) -> list[str]:
    """Attach *wanted*, outer targets first. Returns warnings. With *map_for* binds are id-mapped."""
    warnings: list[str] = []
    for one in sorted(wanted, key=lambda one: one.target.rstrip("/").count("/")):
        _check_target(one.target)
        if isinstance(one, TmpfsMount):
            root.attach(_tmpfs(one, owner), one.target)
        elif isinstance(one, LayersMount):
            tree, directory = _layers(one, layer_maps, strategies)
            root.attach(tree, one.target, directory=directory)
        else:
            root.attach(_bind(one, map_for, warnings, owner), one.target, directory=one.source.is_dir())
    return warnings


def attach_files(
    root: Root, files: Sequence[TmpfsFile], *, owner: tuple[int, int] | None, owner_for: OwnerFor | None = None
) -> None:
    """Lay *files* over their targets from one tmpfs: they are never on disk. *owner* has those that name none."""
    if not files:
        return
    with MemoryFiles(root) as memory:
        for file in files:
            _check_target(file.target)
            belongs_to = owner if file.owner is None or owner_for is None else owner_for(*file.owner)
            root.attach(memory.tree(file.content, mode=file.mode, owner=belongs_to), file.target, directory=False)


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


def _layers(wanted: LayersMount, layer_maps: LayerMaps, strategies: Sequence[OverlayStrategy]) -> tuple[int, bool]:
    """A detached mount of what the layers hold at the source, and whether that is a directory."""
    overlay, _strategy = mount_overlay(wanted.layers, wanted.overlay_dir, maps=layer_maps, strategies=strategies)
    try:
        # Before Linux 6.15 only a part of an attached mount can be cloned. It lies over its own writable directory, which nobody
        # in the container can reach, and goes with this mount namespace.
        place = os.open(wanted.overlay_dir, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            mounts.attach(overlay, place)
        finally:
            os.close(place)
        found = open_in_root(overlay, wanted.source.strip("/") or ".")
    except OSError as error:
        raise ContainerError(
            f"cannot mount `{wanted.source or '/'}` of another stage at `{wanted.target}`: {os.strerror(error.errno or 0)}"
        ) from error
    finally:
        os.close(overlay)
    try:
        tree = mounts.clone_tree("", at=found)
        attributes = mounts.ATTR_NOSUID | mounts.ATTR_NODEV | (mounts.ATTR_RDONLY if wanted.readonly else 0)
        mounts.set_attributes(tree, attributes)
        return tree, stat.S_ISDIR(os.fstat(found).st_mode)
    finally:
        os.close(found)


def _bind(wanted: BindMount, map_for: MapFor | None, warnings: list[str], first_ids: tuple[int, int] | None) -> int:
    """A detached copy of the mount at the source, with what is mounted below it."""
    try:
        found = os.stat(wanted.source)
        tree = mounts.clone_tree(wanted.source, recursive=True)
    except OSError as error:
        raise ContainerError(f"cannot mount `{wanted.source}` at `{wanted.target}`: {os.strerror(error.errno or 0)}") from error
    try:
        if map_for is not None:
            uid, gid = (found.st_uid, found.st_gid) if wanted.owner_is_caller else (0, 0)
            inside = wanted.owner if wanted.owner_is_caller else (0, 0)
            userns = map_for(uid, gid, inside) if inside != (0, 0) else map_for(uid, gid)
            _show_owner(wanted, tree, userns, warnings, first_ids)
        attributes = mounts.ATTR_NOSUID | mounts.ATTR_NODEV
        attributes |= mounts.ATTR_RDONLY if wanted.readonly else 0
        attributes |= 0 if wanted.executable else mounts.ATTR_NOEXEC
        mounts.set_attributes(tree, attributes, recursive=True)
    except BaseException:
        os.close(tree)
        raise
    return tree


def _show_owner(wanted: BindMount, tree: int, userns: int, warnings: list[str], first_ids: tuple[int, int] | None) -> None:
    try:
        mounts.id_map(tree, userns, recursive=True)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.EPERM, errno.EOPNOTSUPP):
            raise
        if wanted.may_be_lent and first_ids is not None:
            lend(wanted.source, first_ids[0] + wanted.owner[0], first_ids[1] + wanted.owner[1])
            return
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
