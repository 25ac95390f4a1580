"""Can a container's writable directory lie here? Tried out: what a file system answers depends on its mount and on the kernel.

overlayfs wants an upper directory with extended attributes and d_type (overlayfs.rst, "Upper and Lower"), and RENAME_WHITEOUT of
what revalidates its names: no NFS, no Lustre, hardly a FUSE file system, not another overlay. For root it has to be shown with
other owners, too (mount_setattr(2), MOUNT_ATTR_IDMAP).
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from runtime.errors import RuntimeFailure
from runtime.kernel import id_maps, libc, mounts, namespaces, processes
from runtime.rootfs.overlay import STRATEGIES, LayerMaps, NotMappable, OverlayStrategy, make_writable_directories, mount_overlay
from runtime.rootfs.removal import remove_tree

CARRY_ONE = ("ext4", "xfs", "btrfs", "tmpfs")
"""File systems that need no trial: a launch on one's own disk pays one statfs(2)."""


def why_no_writable_layer(directory: Path) -> str | None:
    """Why no container's writable directory can lie in *directory*, which is ours; None when one can."""
    if mounts.file_system_name(directory) in CARRY_ONE:
        return None if os.access(directory, os.W_OK | os.X_OK) else f"`{directory}` cannot be written"
    place = directory / f".launch-trial-{os.urandom(8).hex()}"
    try:
        place.mkdir(mode=0o700)
    except OSError as error:
        return f"`{directory}` cannot be written: {(error.strerror or '').lower()}"
    try:
        failure = _failure(place)
    finally:
        remove_tree(place)
    return None if failure is None else failure.replace(os.fspath(place), os.fspath(directory))


def _failure(place: Path) -> str | None:
    """What a forked process says that stacks a layer there, in namespaces that end with it; None when it could."""
    said = processes.answer_of_child(lambda: _words_of(place).encode()).decode(errors="replace")
    return None if said == _WORKS else said or "the process that tried it was killed"


_WORKS = "it works"


def _words_of(place: Path) -> str:
    try:
        stack_on(place)
    except NotMappable:
        return f"`{place}` lies on {mounts.file_system_name(place)}, which can't show other owners (id-mapped mounts)"
    except RuntimeFailure as failure:
        return failure.message
    except OSError as error:
        return str(error)
    return _WORKS


def stack_on(place: Path, strategies: Sequence[OverlayStrategy] = STRATEGIES) -> OverlayStrategy:
    """Mount an overlay on *place*, as a container has it, in this process, which has to end soon. Which strategy made it."""
    layer = place / "layer"
    layer.mkdir(exist_ok=True)
    make_writable_directories(place)
    maps = id_maps.choose()
    if maps.kind is id_maps.IdMapKind.RANGED:
        swap = id_maps.swap_map(maps.uids.extents[0].outside)
        shown = LayerMaps(namespaces.make_mapping(maps.uids, maps.gids), namespaces.make_mapping(swap, swap))
    else:
        shown = LayerMaps()
        namespaces.enter_user_namespace(namespaces.make_user_namespace(maps), maps)
    libc.unshare(processes.NEWNS)
    mounts.make_private()
    return mount_overlay([layer], place, maps=shown, strategies=strategies)[1]
