"""What a container gets for its leased GPUs: device nodes, driver files, environment.

Computed from the live driver at each start; no hooks are run.
"""

from __future__ import annotations

import stat
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from runtime.errors import GpuError
from runtime.gpu.driver import gather
from runtime.gpu.inventory import Gpu

_CONTROL_NODES = ("nvidiactl", "nvidia-uvm")
_OPTIONAL_NODES = ("nvidia-uvm-tools",)
MOUNT_POINT = "/usr/local/nvidia"


@dataclass(frozen=True, slots=True)
class Injection:
    """Edits to a container, as data."""

    nodes: tuple[Path, ...]
    library_dir: Path
    masked_proc: tuple[tuple[str, str], ...]
    env: dict[str, str]
    path_prefix: str = f"{MOUNT_POINT}/bin"
    library_path: str = f"{MOUNT_POINT}/lib64"


def injection(gpus: Sequence[Gpu], *, cache: Path, root: Path = Path("/")) -> Injection:
    """The edits for *gpus* (leased). Only their nodes exist in the container. Raises GpuError when a node is missing."""
    dev = root / "dev"
    wanted = [dev / f"nvidia{gpu.minor}" for gpu in gpus] + [dev / name for name in _CONTROL_NODES]
    for node in wanted:
        _check_node(node)
    optional = [dev / name for name in _OPTIONAL_NODES if (dev / name).exists()]
    return Injection(
        nodes=(*wanted, *optional),
        library_dir=gather(cache, root),
        masked_proc=_masked_params(root),
        # `void`: a toolkit nested inside must do nothing. CUDA_VISIBLE_DEVICES stays unset: only leased nodes exist.
        env={"NVIDIA_VISIBLE_DEVICES": "void", "CUDA_DEVICE_ORDER": "PCI_BUS_ID"},
    )


def _check_node(node: Path) -> None:
    try:
        mode = node.stat().st_mode
    except FileNotFoundError:
        hint = "`nvidia-modprobe -u -c=0` makes it" if node.name.startswith("nvidia-uvm") else "`nvidia-smi` as root makes it"
        raise GpuError(f"device node `{node}` is missing", hint=hint) from None
    if not stat.S_ISCHR(mode):
        raise GpuError(f"`{node}` is not a character device")


def _masked_params(root: Path) -> tuple[tuple[str, str], ...]:
    """/proc/driver/nvidia/params with ModifyDeviceFiles off: NVML inside must not make nodes of other GPUs."""
    try:
        params = (root / "proc/driver/nvidia/params").read_text()
    except OSError:
        return ()
    return (("/proc/driver/nvidia/params", params.replace("ModifyDeviceFiles: 1", "ModifyDeviceFiles: 0")),)
