"""What /sys tells of a PCI device: where it is plugged in, and its nodes of the direct rendering manager. No driver is asked."""

from __future__ import annotations

import os
import re
from pathlib import Path

from runtime.gpu.roots import Roots
from runtime.light_dataclasses import dataclass

_ADDRESS = re.compile(r"[0-9A-Fa-f]{4,8}:[0-9A-Fa-f]{2}:[0-9A-Fa-f]{2}\.[0-7]")


@dataclass(frozen=True, slots=True)
class PciPlace:
    numa_node: int | None = None
    """None where the machine has one node only, or doesn't tell."""
    cpus: str | None = None
    render_nodes: tuple[str, ...] = ()


def pci_directory(address: str, roots: Roots) -> Path:
    """*address* as NVML writes it (`00000000:18:00.0`) or as the kernel does (`0000:18:00.0`)."""
    domain, _, rest = address.lower().partition(":")
    return roots.sys / "sys/bus/pci/devices" / f"{int(domain, 16):04x}:{rest}"


def pci_place(address: str | None, roots: Roots) -> PciPlace:
    if not address or _ADDRESS.fullmatch(address) is None:
        return PciPlace()
    directory = pci_directory(address, roots)
    node = read_text(directory / "numa_node")
    return PciPlace(
        numa_node=int(node) if node is not None and node.isdigit() else None,
        cpus=read_text(directory / "local_cpulist") or None,
        render_nodes=_render_nodes(directory / "drm", roots),
    )


def _render_nodes(directory: Path, roots: Roots) -> tuple[str, ...]:
    try:
        names = sorted(name for name in os.listdir(directory) if name.startswith(("card", "renderD")))
    except OSError:
        return ()
    return tuple(f"/dev/dri/{name}" for name in names if (roots.dev / "dev/dri" / name).exists())


def read_text(file: Path) -> str | None:
    """The one line of a file in /sys; None where there is no such file, or it won't be read."""
    try:
        return file.read_text().strip()
    except OSError:
        return None
