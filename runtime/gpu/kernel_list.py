"""The NVIDIA GPUs that the kernel module drives, as /proc/driver/nvidia/gpus lists them: known even of one that NVML can't ask.

NVML counts in the order of their PCI addresses, which is the order here.
"""

from __future__ import annotations

import os
from dataclasses import dataclass

from runtime.gpu.roots import Roots


@dataclass(frozen=True, slots=True)
class KernelGpu:
    address: str
    uuid: str | None
    """None before the GPU was first used (the file shows question marks)."""
    minor: int | None
    model: str | None


def kernel_gpus(roots: Roots) -> tuple[KernelGpu, ...]:
    directory = roots.proc / "proc/driver/nvidia/gpus"
    try:
        addresses = sorted(os.listdir(directory))
    except OSError:
        return ()
    return tuple(_read(address, roots) for address in addresses)


def _read(address: str, roots: Roots) -> KernelGpu:
    try:
        text = (roots.proc / "proc/driver/nvidia/gpus" / address / "information").read_text()
    except OSError:
        return KernelGpu(address, None, None, None)
    told = {name.strip(): value.strip() for name, _, value in (line.partition(":") for line in text.splitlines())}
    uuid, minor = told.get("GPU UUID", ""), told.get("Device Minor", "")
    return KernelGpu(
        address,
        uuid if uuid.startswith("GPU-") and "?" not in uuid else None,
        int(minor) if minor.isdigit() else None,
        told.get("Model") or None,
    )
