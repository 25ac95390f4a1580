"""The root file system of a bundle: found, made a mount of its own, and entered (pivot_root(2))."""

from __future__ import annotations

import os
from pathlib import Path

from runtime.errors import ContainerError
from runtime.kernel import libc, mounts
from runtime.oci.runtime_config import RuntimeConfig
from runtime.oci_runtime.mounts.mount_options import MS_PRIVATE, MS_REC, propagation_flags
from runtime.rootfs.targets import Root


def find_rootfs(rootfs: Path) -> int:
    """A descriptor of the directory *rootfs*. Raises ContainerError."""
    try:
        return os.open(rootfs, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise ContainerError(f"no root file system `{rootfs}`: {os.strerror(error.errno or 0).lower()}") from error


def open_rootfs(rootfs: Path, config: RuntimeConfig, *, private_namespace: bool) -> Root:
    """The root at *rootfs*, which is the working directory. In a mount namespace of its own it becomes a mount, and nothing made
    in it is seen outside unless `linux.rootfsPropagation` says so."""
    # Not by its path: root of a user namespace may not be allowed to walk there.
    fd = os.open(".", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    if not private_namespace:
        return Root(fd, None)
    wanted = config.linux.rootfs_propagation
    libc.mount("", "/", "", propagation_flags(wanted) if wanted else MS_REC | MS_PRIVATE)
    if wanted:
        _make_parent_private(rootfs)
    tree = mounts.clone_tree("", at=fd, recursive=True)
    mounts.set_attributes(tree, propagation=MS_PRIVATE, recursive=True)
    mounts.attach(tree, fd)
    os.close(fd)
    return Root(tree, None)


def _make_parent_private(rootfs: Path) -> None:
    """What is attached over *rootfs* must not travel to where its parent mount came from, and pivot_root wants it private."""
    for directory in (rootfs, *rootfs.parents):
        try:
            libc.mount("", directory, "", MS_PRIVATE)
        except OSError:  # EINVAL: not a mount point; look above
            continue
        return


def change_root(root: Root, *, propagation: int, pivot: bool) -> None:
    """Make *root* this process's `/`."""
    os.fchdir(root.fd)
    if not pivot:
        os.chroot(".")
        os.chdir("/")
        return
    mounts.pivot_to_working_directory()
    if propagation:
        libc.mount("", "/", "", propagation)
