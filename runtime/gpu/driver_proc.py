"""What a container sees of /proc/driver/nvidia: as much as libnvidia-container shows (nvc_mount.c, mount_procfs).

The host's directory tells about every GPU, and its `params` let NVML make nodes of other GPUs. So it is covered: copies of
`params` (with ModifyDeviceFiles off), `version` and `registry`, and of what is there for each GPU only that of the nodes given.
"""

from __future__ import annotations

import re
from pathlib import Path

from runtime.gpu.edits import DeviceFile
from runtime.gpu.mig_nodes import opened_by
from runtime.gpu.roots import Roots

PLACE = "/proc/driver/nvidia"
_GPU = re.compile(r"/dev/nvidia(\d+)")
_MINOR = re.compile(r"^Device Minor:\s*(\d+)", re.MULTILINE)


def covered_files(roots: Roots) -> tuple[tuple[str, str], ...]:
    """(name, content) of the files at the top. Empty where the driver has no such directory (WSL, gVisor): nothing to cover."""
    files = []
    for name in ("params", "version", "registry"):
        try:
            text = (roots.proc / PLACE.lstrip("/") / name).read_text()
        except OSError:
            continue
        files.append((name, text.replace("ModifyDeviceFiles: 1", "ModifyDeviceFiles: 0")))
    return tuple(files)


def kept_directories(nodes: tuple[DeviceFile, ...], roots: Roots) -> tuple[str, ...]:
    """What of each GPU stays visible below /proc/driver/nvidia: `gpus/0000:18:00.0`, and the access files of MIG slices."""
    minors = {int(found[1]) for one in nodes if (found := _GPU.fullmatch(one.target))}
    directory = roots.proc / PLACE.lstrip("/") / "gpus"
    gpus = sorted(path for path in directory.glob("*") if _minor_in(path / "information") in minors)
    slices = (re.sub(r"^(gpu\d+)/", r"\1/mig/", path) for path in opened_by(nodes, roots))
    return (*(f"gpus/{path.name}" for path in gpus), *(f"capabilities/{path}" for path in slices))


def _minor_in(information: Path) -> int | None:
    try:
        found = _MINOR.search(information.read_text())
    except OSError:
        return None
    return int(found[1]) if found else None
