"""Which NVIDIA GPUs this machine has, as far as device files and /proc tell: no library is loaded.

`/proc/driver/nvidia/gpus/<pci address>` exists for each GPU that the kernel module drives; `/dev/nvidia<minor>` is what a
program opens. A container sees only its own nodes but the host's /proc, so the nodes decide and /proc is the second witness.
"""

from __future__ import annotations

import os
import re
import stat

from runtime.errors import GpuError
from runtime.gpu.edits import DeviceFile
from runtime.gpu.roots import Roots

_NODE = re.compile(r"nvidia\d+")
_VERSION = re.compile(r"\b(\d{3,}(?:\.\d+)+)\b")


def count_gpus(roots: Roots | None = None) -> int:
    """GPUs whose device node is here. 0 when the driver is not loaded."""
    roots = roots or Roots.of_this_machine()
    return 0 if module_version(roots) is None else len(device_minors(roots))


def device_minors(roots: Roots) -> tuple[int, ...]:
    """Minor numbers of the `/dev/nvidia<minor>` nodes, sorted. Neither NVML's order nor CUDA's."""
    try:
        names = os.listdir(roots.dev / "dev")
    except FileNotFoundError:
        return ()
    return tuple(sorted(int(name.removeprefix("nvidia")) for name in names if _NODE.fullmatch(name)))


def module_version(roots: Roots) -> str | None:
    """Version of the loaded kernel module, `580.95.05`; None when there is none."""
    # "NVRM version: NVIDIA UNIX x86_64 Kernel Module  580.95.05  Tue Sep 23 …"; open modules put more words in between.
    for file in (roots.proc / "proc/driver/nvidia/version", roots.sys / "sys/module/nvidia/version"):
        try:
            text = file.read_text()
        except (FileNotFoundError, NotADirectoryError, PermissionError):
            continue
        found = _VERSION.search(text.splitlines()[0]) if text else None
        if found:
            return found[1]
    return None


def node(path: str, roots: Roots) -> DeviceFile:
    """The character device *path* (`/dev/nvidia0`). Raises GpuError when it is missing or something else."""
    source = roots.dev / path.lstrip("/")
    try:
        mode = source.stat().st_mode
    except FileNotFoundError:
        name = os.path.basename(path)
        hint = "`nvidia-modprobe -u -c=0` makes it" if name.startswith("nvidia-uvm") else "`nvidia-smi` as root makes it"
        raise GpuError(f"device node `{source}` is missing", hint=hint) from None
    if not stat.S_ISCHR(mode):
        raise GpuError(f"`{source}` is not a character device")
    return DeviceFile(source, path)


def nodes_there(paths: tuple[str, ...], roots: Roots) -> tuple[DeviceFile, ...]:
    """Those of *paths* that exist."""
    return tuple(node(path, roots) for path in paths if (roots.dev / path.lstrip("/")).exists())


def is_nvidia(device: DeviceFile) -> bool:
    return device.target.startswith("/dev/nvidia")


def groups_of(nodes: tuple[DeviceFile, ...]) -> tuple[int, ...]:
    """Groups of the host that the program must be in to open *nodes*. Raises GpuError for a node that no group opens."""
    groups: set[int] = set()
    for one in nodes:
        found = one.source.stat()
        # Those of MIG's capabilities are opened for reading only.
        needed = 0o4 if one.target.startswith("/dev/nvidia-caps/") else 0o6
        if found.st_mode & needed == needed:
            continue
        # Nobody becomes a member of the host's group 0 for a device's sake.
        if found.st_mode >> 3 & needed != needed or found.st_gid == 0:
            raise GpuError(
                f"`{one.source}` has mode {stat.S_IMODE(found.st_mode):04o}: only its owner may use it",
                hint=f"`chmod 666 {one.source}`, or a udev rule, lets programs in containers use it",
            )
        if os.geteuid() != 0 and found.st_gid not in (os.getegid(), *os.getgroups()):
            raise GpuError(
                f"`{one.source}` is for group {_group_name(found.st_gid)}, and you are not in it",
                hint=f"`usermod -aG {_group_name(found.st_gid)} USER` as root, then log in again",
            )
        groups.add(found.st_gid)
    return tuple(sorted(groups))


def _group_name(gid: int) -> str:
    import grp

    try:
        return grp.getgrgid(gid).gr_name
    except KeyError:
        return str(gid)
