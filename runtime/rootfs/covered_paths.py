"""Paths that a program must not read, hidden, and those that it must not write, made read-only.

What a container of ours has of both follows Docker's defaults (moby, oci/defaults.go); a bundle names its own.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Sequence

from runtime.errors import ContainerError
from runtime.kernel import mounts
from runtime.kernel.safe_open import open_in_root
from runtime.rootfs.targets import Root

MASKED = (
    "/proc/acpi",
    "/proc/asound",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/sys/devices/virtual/powercap",
    "/sys/firmware",
)
READONLY = ("/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger")

_CLOSED = mounts.ATTR_NOSUID | mounts.ATTR_NODEV | mounts.ATTR_NOEXEC


def cover_system_paths(root: Root) -> None:
    """Hide what a program must not read in /proc and /sys, and make read-only what it must not write."""
    hide_paths(root, _masked_paths())
    protect_paths(root, READONLY, attributes=_CLOSED)


def _masked_paths() -> tuple[str, ...]:
    """MASKED, and what each core tells of its temperature (Docker since 28)."""
    cores = "/sys/devices/system/cpu"
    if not os.path.exists(f"{cores}/cpu0/thermal_throttle"):
        return MASKED
    return *MASKED, *(f"{cores}/{name}/thermal_throttle" for name in sorted(os.listdir(cores)) if re.fullmatch(r"cpu\d+", name))


def hide_paths(root: Root, paths: Sequence[str]) -> None:
    """Lay /dev/null of the host over each file of *paths* that is there, and one empty directory over each directory."""
    null, empty = _open_null(), -1
    try:
        for path in paths:
            point = open_existing(root, path)
            if point is None:
                continue
            try:
                if not stat.S_ISDIR(os.fstat(point).st_mode):
                    tree = mounts.clone_tree("", at=null)
                elif empty < 0:
                    options = {"mode": "755", "size": "0", "nr_inodes": "1"}
                    tree = empty = mounts.new_mount("tmpfs", options, attributes=_CLOSED | mounts.ATTR_RDONLY)
                else:
                    tree = mounts.clone_tree("", at=empty)
                mounts.attach(tree, point)
                if tree != empty:
                    os.close(tree)
            finally:
                os.close(point)
    finally:
        os.close(null)
        if empty >= 0:
            os.close(empty)


def protect_paths(root: Root, paths: Sequence[str], *, attributes: int = 0) -> None:
    """Make each of *paths* that is there read-only, with everything mounted below it, and with more ATTR_* *attributes*."""
    for path in paths:
        point = open_existing(root, path)
        if point is None:
            continue
        try:
            tree = mounts.clone_tree("", at=point, recursive=True)
            mounts.set_attributes(tree, attributes | mounts.ATTR_RDONLY, recursive=True)
            mounts.attach(tree, point)
            os.close(tree)
        finally:
            os.close(point)


def open_existing(root: Root, path: str) -> int | None:
    """A descriptor (O_PATH) of *path* in the container; None when there is none, or it isn't even ours to see."""
    try:
        return open_in_root(root.fd, path.strip("/") or ".")
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        return None


def _open_null() -> int:
    """A descriptor of the machine's /dev/null, verified: what hides a file must not be something that an image put there."""
    null = os.open("/dev/null", os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC)
    status = os.fstat(null)
    if not stat.S_ISCHR(status.st_mode) or status.st_rdev != os.makedev(1, 3):
        os.close(null)
        raise ContainerError("`/dev/null` of this machine is not the null device")
    return null
