"""/proc, /sys and /dev of a container, made by its PID 1 in its own namespaces before the root is changed.

proc and sysfs may only be mounted where the host's own are fully visible, so before pivot_root(2) hides them.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Sequence

from runtime.errors import ContainerError, Unsupported
from runtime.kernel import libc, mounts
from runtime.kernel.mountinfo import parse_mountinfo
from runtime.kernel.safe_open import RESOLVE_NO_SYMLINKS, open_in_root
from runtime.rootfs.covered_paths import hide_paths, open_existing
from runtime.rootfs.device_files import make_link
from runtime.rootfs.mount_spec import DeviceNode, ProcCover, Symlink
from runtime.rootfs.targets import Root

DEVICES = ("null", "zero", "full", "random", "urandom", "tty")
LINKS = {
    "fd": "/proc/self/fd",
    "stdin": "/proc/self/fd/0",
    "stdout": "/proc/self/fd/1",
    "stderr": "/proc/self/fd/2",
    "ptmx": "pts/ptmx",
}

_CLOSED = mounts.ATTR_NOSUID | mounts.ATTR_NODEV | mounts.ATTR_NOEXEC
_TTY_GROUP = 5
_MOST_COVERS = 6


def mount_proc(root: Root, *, covers: Sequence[ProcCover] = ()) -> None:
    """/proc of this PID namespace, with *covers* over directories of it."""
    try:
        tree = mounts.new_mount("proc", attributes=_CLOSED)
    except OSError as error:
        if error.errno != errno.EPERM:
            raise
        raise _covered_proc() from error
    _attach_at_top(root, tree, "proc")
    for cover in covers:
        _cover_but(root, cover)


def _covered_proc() -> Unsupported:
    """The kernel shows an ordinary user no more of /proc than there was (fs/namespace.c, mnt_already_visible)."""
    covers = _mount_points_below("/proc")
    listed = ", ".join(f"`{path}`" for path in covers[:_MOST_COVERS]) or "parts"
    hint = (
        "start the outer container with `--security-opt systempaths=unconfined` (Docker), `--security-opt unmask=ALL` (Podman) "
        "or `procMount: Unmasked` (Kubernetes)"
    )
    if any(path.startswith("/proc/driver") for path in covers):
        hint += (
            "; NVIDIA's toolkit covers `/proc/driver/nvidia` all the same: start launch as root there, or give that container a "
            "second, whole /proc (`--volume /proc:/run/whole-proc`)"
        )
    return Unsupported(f"a new /proc can't be mounted: {listed} of it are covered here, as inside a container", hint=hint)


def mount_sys(root: Root, *, own_network: bool) -> None:
    """/sys, read-only. sysfs belongs to a network namespace: without an own one the host's is bound, and what is mounted below it
    (cgroups of everybody, debugfs, pinned programs) is hidden."""
    if own_network:
        tree = mounts.new_mount("sysfs", attributes=_CLOSED | mounts.ATTR_RDONLY)
    else:
        # With what is below it: the kernel uncovers nothing for a new user namespace.
        tree = mounts.clone_tree("/sys", recursive=True)
        mounts.set_attributes(tree, _CLOSED | mounts.ATTR_RDONLY, recursive=True)
    _attach_at_top(root, tree, "sys")
    if not own_network:
        hide_paths(root, _mount_points_below("/sys"))
    if libc.statfs_type("/sys/fs/cgroup") == mounts.CGROUP2_MAGIC:
        # The program's own cgroup is its root: programs that ask for their limits find them.
        root.attach(mounts.new_mount("cgroup2", attributes=_CLOSED | mounts.ATTR_RDONLY), "/sys/fs/cgroup")


def _mount_points_below(directory: str) -> list[str]:
    """The outermost mount points below *directory*, as this process sees them."""
    with open("/proc/self/mountinfo") as file:
        points = sorted({mount.point for mount in parse_mountinfo(file.read())})
    found: list[str] = []
    for point in points:
        if point.startswith(f"{directory}/") and not (found and point.startswith(f"{found[-1]}/")):
            found.append(point)
    return found


def _attach_at_top(root: Root, tree: int, name: str) -> None:
    """Attach *tree* at `/NAME` itself. An image that has a link there would have it mounted elsewhere, and could then replace the
    link, while we and the kernel's own links rely on /proc (CVE-2025-52881)."""
    try:
        os.close(libc.openat2(root.fd, name, os.O_PATH | os.O_CLOEXEC, resolve=RESOLVE_NO_SYMLINKS))
    except FileNotFoundError:
        root.attach(tree, f"/{name}")  # makes it
        return
    except OSError as error:
        os.close(tree)
        raise ContainerError(
            f"`/{name}` of the image is a link", hint="it must be a directory, or not be there: then it is made"
        ) from error
    root.attach(tree, f"/{name}")


def mount_dev(
    root: Root, *, shm_bytes: int | None, devices: Sequence[DeviceNode], links: Sequence[Symlink] = (), single_id: bool
) -> None:
    """/dev: a tmpfs with the usual nodes bound from the host, pts, shm and mqueue, *devices*, and *links* among them."""
    # Its size is what a program may fill there.
    tree = mounts.new_mount("tmpfs", {"mode": "755", "size": "1m"}, attributes=mounts.ATTR_NOSUID | mounts.ATTR_NOEXEC)
    _attach_at_top(root, tree, "dev")
    dev = Root(open_in_root(root.fd, "dev", os.O_PATH | os.O_DIRECTORY), None)
    try:
        for name in DEVICES:
            dev.attach(_node(f"/dev/{name}"), name, directory=False)
        for name, target in LINKS.items():
            os.symlink(target, name, dir_fd=dev.fd)
        pts: dict[str, str | None] = {"newinstance": None, "ptmxmode": "0666", "mode": "0620"}
        if not single_id:  # group 5, tty, has no id there: EINVAL
            pts["gid"] = str(_TTY_GROUP)
        dev.attach(mounts.new_mount("devpts", pts, attributes=mounts.ATTR_NOSUID | mounts.ATTR_NOEXEC), "pts")
        shm = {"mode": "1777"} | ({"size": str(shm_bytes)} if shm_bytes is not None else {})
        dev.attach(mounts.new_mount("tmpfs", shm, attributes=_CLOSED), "shm")
        dev.attach(mounts.new_mount("mqueue", attributes=_CLOSED), "mqueue")
    finally:
        os.close(dev.fd)
    for device in devices:
        _bind_device(root, device)
    for link in links:
        make_link(root, link)


def _node(path: str) -> int:
    """A mount of the device node, and of nothing that may be put in its place."""
    tree = mounts.clone_tree(path)
    mounts.set_attributes(tree, mounts.ATTR_NOSUID | mounts.ATTR_NOEXEC)
    return tree


def _bind_device(root: Root, device: DeviceNode) -> None:
    try:
        found = os.stat(device.source)
        tree = _node(str(device.source))
    except OSError as error:
        raise ContainerError(f"no device `{device.source}`: {os.strerror(error.errno or 0)}") from error
    if not (stat.S_ISCHR(found.st_mode) or stat.S_ISBLK(found.st_mode)):
        os.close(tree)
        raise ContainerError(f"`{device.source}` is not a device")
    root.attach(tree, device.target, directory=False)


def _cover_but(root: Root, cover: ProcCover) -> None:
    """Lay a small file system over a directory of /proc; what it has at the kept places is bound into that. Where there is no
    such directory nothing is covered: /proc has none that we could make."""
    point = open_existing(root, cover.path)
    if point is None:
        return
    below = Root(mounts.new_mount("tmpfs", {"mode": "555", "size": "1m"}, attributes=_CLOSED), None)
    try:
        kept = [(path, tree) for path in cover.kept if (tree := _part_of(point, path)) is not None]
        mounts.attach(below.fd, point)
        for name, content in cover.files:
            with open(os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o444, dir_fd=below.fd), "w") as file:
                file.write(content)
        for path, tree in kept:
            below.attach(tree, path, directory=stat.S_ISDIR(os.fstat(tree).st_mode))
        mounts.set_attributes(below.fd, _CLOSED | mounts.ATTR_RDONLY)
    finally:
        os.close(below.fd)
        os.close(point)


def _part_of(directory: int, path: str) -> int | None:
    """A detached mount of what lies at *path* below *directory*; None when nothing does."""
    try:
        part = open_in_root(directory, path)
    except FileNotFoundError:
        return None
    try:
        return mounts.clone_tree("", at=part)
    finally:
        os.close(part)
