"""A mount of type `cgroup`: the hierarchies of the machine as the container sees them.

With a cgroup namespace of its own a new mount shows the container's cgroup as the root; without one the machine's hierarchy (v2)
or the container's own directories of it (v1) are bound.
"""

from __future__ import annotations

import os
from pathlib import Path

from runtime.cgroup.hierarchies import Hierarchies, own_hierarchies
from runtime.kernel import mounts
from runtime.kernel.safe_open import open_in_root
from runtime.oci_runtime.mounts.mount_options import MountPlan
from runtime.rootfs.targets import Root

_CLOSED = mounts.ATTR_NOSUID | mounts.ATTR_NODEV | mounts.ATTR_NOEXEC


def mount_cgroups(root: Root, destination: str, plan: MountPlan, *, own_namespace: bool) -> int:
    """Mount what there is at *destination*; a descriptor of the topmost mount."""
    own = own_hierarchies()
    attributes = plan.attributes & ~mounts.ATTR_RDONLY
    if not own.legacy and own.unified_mount is not None:
        tree = mounts.new_mount("cgroup2", attributes=attributes) if own_namespace else mounts.clone_tree(own.unified_mount)
        root.attach(os.dup(tree), destination)
        return tree
    tree = mounts.new_mount("tmpfs", {"mode": "755"}, attributes=attributes)
    root.attach(os.dup(tree), destination)
    for point, controllers in _legacy_mounts(own).items():
        root.attach(_legacy(own, controllers, own_namespace=own_namespace, read_only=plan.attributes), f"{destination}/{point}")
        for controller in controllers:
            if controller != point and not controller.startswith("name=") and "," in point:
                _link(root, destination, controller, point)
    if own.unified is not None:
        unified = mounts.new_mount("cgroup2", attributes=_CLOSED) if own_namespace else mounts.clone_tree(own.unified)
        root.attach(unified, f"{destination}/unified")
    return tree


def _legacy_mounts(own: Hierarchies) -> dict[str, list[str]]:
    """Name of the mount point → its controllers."""
    found: dict[str, list[str]] = {}
    for controller, point in own.legacy_mounts.items():
        found.setdefault(point.name, []).append(controller)
    return found


def _legacy(own: Hierarchies, controllers: list[str], *, own_namespace: bool, read_only: int) -> int:
    if own_namespace:
        named = [one for one in controllers if one.startswith("name=")]
        options: dict[str, str | None] = {"name": named[0][5:], "none": None} if named else dict.fromkeys(controllers)
        tree = mounts.new_mount("cgroup", options, attributes=_CLOSED)
    else:
        tree = mounts.clone_tree(Path(own.legacy[controllers[0]]))
    if read_only & mounts.ATTR_RDONLY:
        mounts.set_attributes(tree, mounts.ATTR_RDONLY)
    return tree


def _link(root: Root, destination: str, name: str, target: str) -> None:
    directory = open_in_root(root.fd, destination.strip("/"), os.O_PATH | os.O_DIRECTORY)
    try:
        os.symlink(target, name, dir_fd=directory)
    finally:
        os.close(directory)
