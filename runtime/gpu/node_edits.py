"""Device nodes of this machine as a container gets them: found, checked, with the groups that open them.

Those of a GPU come with its lease. Others a run gets only when it asks for them by a word or a path: none is needed to compute.

| word         | nodes |
| ------------ | ----- |
| `gds`        | GPUDirect Storage: /dev/nvidia-fs* |
| `gdrcopy`    | /dev/gdrdrv |
| `imex:N`     | a channel between the nodes of a multi-node NVLink domain: /dev/nvidia-caps-imex-channels/channelN |
| `infiniband` | RDMA: /dev/infiniband/uverbs*, rdma_cm |

Of InfiniBand that is what programs open, by the kernel's own mode for everybody (uverbs_main.c, ucma.c); `umad*` and `issm*`
beside them are for who manages the fabric (user_mad.c: mode 0600).
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

from runtime.errors import GpuError
from runtime.gpu.edits import Edits
from runtime.gpu.roots import Roots
from runtime.rootfs.mount_spec import DeviceNode

_PATTERNS = {
    "gds": (("nvidia-fs*",), "`modprobe nvidia-fs` makes them"),
    "gdrcopy": (("gdrdrv",), "`modprobe gdrdrv` makes it"),
    "infiniband": (
        ("infiniband/uverbs*", "infiniband/rdma_cm"),
        "is an RDMA adapter here, and its driver loaded (`ibv_devices`)?",
    ),
    "imex": (("nvidia-caps-imex-channels/channel{}",), "`nvidia-modprobe -c {} -s` makes it; the IMEX service has to run"),
}
WORDS = tuple(_PATTERNS)
_LAST_CHANNEL = (1 << 20) - 1


def node(path: str, roots: Roots) -> DeviceNode:
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
    return DeviceNode(source, path)


def nodes_there(paths: tuple[str, ...], roots: Roots) -> tuple[DeviceNode, ...]:
    """Those of *paths* that exist."""
    return tuple(node(path, roots) for path in paths if (roots.dev / path.lstrip("/")).exists())


def groups_of(nodes: tuple[DeviceNode, ...]) -> tuple[int, ...]:
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


def requested_nodes(entry: str, roots: Roots | None = None) -> Edits:
    """The nodes of *entry*, a word or an absolute path. Raises GpuError when there are none."""
    dev = (roots or Roots.of_this_machine()).dev
    if entry.startswith("/"):
        return _edits([_path(entry, dev)], dev)
    word, colon, number = entry.partition(":")
    patterns, hint = _PATTERNS[word]
    if word == "imex":
        if not number.isdigit() or int(number) > _LAST_CHANNEL:
            raise GpuError(f"`{entry}` names no channel", hint=f"`imex:0` to `imex:{_LAST_CHANNEL}`")
        patterns, hint = tuple(one.format(number) for one in patterns), hint.format(number)
    elif colon:
        raise GpuError(f"`{word}` takes no number: `{entry}`")
    found = [path for pattern in patterns for path in sorted((dev / "dev").glob(pattern)) if _is_device(path)]
    if not found:
        raise GpuError(f"`{entry}`: there is no `/dev/{patterns[0]}`", hint=hint)
    return _edits(found, dev)


def _path(entry: str, dev: Path) -> Path:
    path = dev / entry.lstrip("/")
    if not entry.startswith("/dev/") or ".." in entry.split("/"):
        raise GpuError(f"`{entry}` is not below /dev", hint="files and directories are mounted by `data` and `caches`")
    if not path.exists():
        raise GpuError(f"there is no device `{entry}`")
    if not _is_device(path):
        raise GpuError(f"`{entry}` is not a device", hint="files and directories are mounted by `data` and `caches`")
    return path


def _is_device(path: Path) -> bool:
    mode = path.stat().st_mode
    return stat.S_ISCHR(mode) or stat.S_ISBLK(mode)


def _edits(paths: list[Path], dev: Path) -> Edits:
    nodes = tuple(DeviceNode(path, f"/{path.relative_to(dev)}") for path in paths)
    return Edits(nodes=nodes, groups=groups_of(nodes))
