"""What the NVIDIA kernel module shows of itself and its GPUs in /proc/driver, and how much of that a container sees. No library
is loaded.

`/proc/driver/nvidia/gpus/<pci address>` exists for each GPU that the module drives; `/dev/nvidia<minor>` is what a program opens.
A container sees only its own nodes but the host's /proc, so the nodes decide and /proc is the second witness.

The host's directory tells about every GPU, and its `params` let NVML make nodes of other GPUs. So it is covered: copies of
`params` (with ModifyDeviceFiles off), `version` and `registry`, and of what is there for each GPU only that of the nodes given.
That is as much as libnvidia-container shows (nvc_mount.c, mount_procfs).
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from runtime.gpu.roots import Roots

if TYPE_CHECKING:
    from runtime.rootfs.mount_spec import DeviceNode

PLACE = "/proc/driver/nvidia"
MIG_MINORS = "/proc/driver/nvidia-caps/mig-minors"
_GPU_NODE = re.compile(r"/dev/nvidia(\d+)")
_CAPABILITY_NODE = re.compile(r"/dev/nvidia-caps/nvidia-cap(\d+)")
_VERSION = re.compile(r"\b(\d{3,}(?:\.\d+)+)\b")


class KernelGpu(NamedTuple):
    """A GPU that the module drives: known even when NVML can't ask it."""

    address: str
    uuid: str | None = None
    """None before the GPU was first used (the file shows question marks)."""
    minor: int | None = None
    model: str | None = None


def module_version(roots: Roots) -> str | None:
    """Version of the loaded kernel module, `580.95.05`; None when there is none."""
    # "NVRM version: NVIDIA UNIX x86_64 Kernel Module  580.95.05  Tue Sep 23 …"; open modules put more words in between.
    for file in (_in_proc(roots, f"{PLACE}/version"), roots.sys / "sys/module/nvidia/version"):
        try:
            text = file.read_text()
        except (FileNotFoundError, NotADirectoryError, PermissionError):
            continue
        found = _VERSION.search(text.splitlines()[0]) if text else None
        if found:
            return found[1]
    return None


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
    return tuple(sorted(int(found[1]) for name in names if (found := _GPU_NODE.fullmatch(f"/dev/{name}"))))


def kernel_gpus(roots: Roots) -> tuple[KernelGpu, ...]:
    """The GPUs that the module drives, by PCI address, which is the order in which NVML counts."""
    directory = _in_proc(roots, f"{PLACE}/gpus")
    try:
        addresses = sorted(os.listdir(directory))
    except OSError:
        return ()
    return tuple(_kernel_gpu(address, roots) for address in addresses)


def _kernel_gpu(address: str, roots: Roots) -> KernelGpu:
    try:
        text = _in_proc(roots, f"{PLACE}/gpus/{address}/information").read_text()
    except OSError:
        return KernelGpu(address)
    fields = {name.strip(): value.strip() for name, _, value in (line.partition(":") for line in text.splitlines())}
    uuid, minor = fields.get("GPU UUID", ""), fields.get("Device Minor", "")
    return KernelGpu(
        address,
        uuid if uuid.startswith("GPU-") and "?" not in uuid else None,
        int(minor) if minor.isdigit() else None,
        fields.get("Model") or None,
    )


def mig_minors(roots: Roots) -> dict[str, int]:
    """`gpu0/gi1/access` → N of `/dev/nvidia-caps/nvidia-cap<N>`, which opens it; the number behind `gpu` is the GPU's minor,
    neither its index nor its order. Empty without MIG."""
    try:
        lines = _in_proc(roots, MIG_MINORS).read_text().splitlines()
    except OSError:
        return {}
    pairs = (line.split() for line in lines)
    return {pair[0]: int(pair[1]) for pair in pairs if len(pair) == 2 and pair[1].isdigit()}


def is_nvidia(node: DeviceNode) -> bool:
    return node.target.startswith("/dev/nvidia")


def covered_files(roots: Roots) -> tuple[tuple[str, str], ...]:
    """(name, content) of the files at the top. Empty where the driver has no such directory (WSL, gVisor): nothing to cover."""
    files = []
    for name in ("params", "version", "registry"):
        try:
            text = _in_proc(roots, f"{PLACE}/{name}").read_text()
        except OSError:
            continue
        files.append((name, text.replace("ModifyDeviceFiles: 1", "ModifyDeviceFiles: 0")))
    return tuple(files)


def kept_directories(nodes: Sequence[DeviceNode], roots: Roots) -> tuple[str, ...]:
    """What of each GPU stays visible below /proc/driver/nvidia: `gpus/0000:18:00.0`, and the access files of MIG slices."""
    minors = _numbers(_GPU_NODE, nodes)
    capabilities = _numbers(_CAPABILITY_NODE, nodes)
    gpus = (f"gpus/{gpu.address}" for gpu in kernel_gpus(roots) if gpu.minor in minors)
    slices = (path.partition("/") for path, number in mig_minors(roots).items() if number in capabilities)
    return (*gpus, *(f"capabilities/{gpu}/mig/{rest}" for gpu, _, rest in slices))


def _in_proc(roots: Roots, path: str) -> Path:
    return roots.proc / path.lstrip("/")


def _numbers(pattern: re.Pattern[str], nodes: Sequence[DeviceNode]) -> set[int]:
    return {int(found[1]) for node in nodes if (found := pattern.fullmatch(node.target))}
