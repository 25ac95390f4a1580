"""Device nodes that a run gets only when it asks for them by a word or a path: nobody needs them to compute.

| word         | nodes |
| ------------ | ----- |
| `gds`        | GPUDirect Storage: /dev/nvidia-fs* |
| `gdrcopy`    | /dev/gdrdrv |
| `imex:N`     | a channel between the nodes of a multi-node NVLink domain: /dev/nvidia-caps-imex-channels/channelN |
| `infiniband` | RDMA: /dev/infiniband/* |
"""

from __future__ import annotations

import stat
from pathlib import Path

from runtime.errors import GpuError
from runtime.gpu.device_nodes import groups_of
from runtime.gpu.edits import DeviceFile, Edits
from runtime.gpu.roots import Roots

_PATTERNS = {
    "gds": ("nvidia-fs*", "`modprobe nvidia-fs` makes them"),
    "gdrcopy": ("gdrdrv", "`modprobe gdrdrv` makes it"),
    "infiniband": ("infiniband/*", "is an RDMA adapter here, and its driver loaded (`ibv_devices`)?"),
    "imex": ("nvidia-caps-imex-channels/channel{}", "`nvidia-modprobe -c {} -s` makes it; the IMEX service has to run"),
}
WORDS = tuple(_PATTERNS)
_LAST_CHANNEL = (1 << 20) - 1


def asked_nodes(entry: str, roots: Roots | None = None) -> Edits:
    """The nodes of *entry*, a word or an absolute path. Raises GpuError when there are none."""
    dev = (roots or Roots.of_this_machine()).dev
    if entry.startswith("/"):
        return _edits([_path(entry, dev)], dev)
    word, colon, number = entry.partition(":")
    pattern, hint = _PATTERNS[word]
    if word == "imex":
        if not number.isdigit() or int(number) > _LAST_CHANNEL:
            raise GpuError(f"`{entry}` names no channel", hint=f"`imex:0` to `imex:{_LAST_CHANNEL}`")
        pattern, hint = pattern.format(number), hint.format(number)
    elif colon:
        raise GpuError(f"`{word}` takes no number: `{entry}`")
    found = [path for path in sorted((dev / "dev").glob(pattern)) if _is_device(path)]
    if not found:
        raise GpuError(f"`{entry}`: there is no `/dev/{pattern}`", hint=hint)
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
    nodes = tuple(DeviceFile(path, f"/{path.relative_to(dev)}") for path in paths)
    return Edits(nodes=nodes, groups=groups_of(nodes))
