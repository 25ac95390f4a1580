"""A GPU of this machine, as a value: NVIDIA's or AMD's. Reading them is `inventory.py`; who may use them is `lease.py`."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class MigInstance:
    """One slice of a GPU in MIG mode. Its UUID is what CUDA and a lease name."""

    uuid: str
    gpu_instance: int
    compute_instance: int
    profile: str | None = None
    """`1g.10gb`."""
    memory_bytes: int | None = None
    index: int = 0
    """NVML's; there may be holes."""
    used_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class GpuProcess:
    """A process with a context on a GPU. *pid* is the host's."""

    pid: int
    used_bytes: int | None = None
    """None where the driver does not tell (another user's, a container of somebody else's)."""
    kind: str = "compute"
    """`compute`, `graphics` or `mps`."""
    mig: str | None = None
    """UUID of the MIG instance that it is on."""


@dataclass(frozen=True, slots=True)
class Gpu:
    """One GPU. Identity is the UUID: NVML counts in PCI order, CUDA fastest first, device nodes by minor."""

    index: int
    uuid: str | None
    minor: int | None = None
    model: str | None = None
    memory_bytes: int | None = None
    capability: str | None = None
    """CUDA compute capability, `9.0`."""
    pci_bus_id: str | None = None
    pids: tuple[int, ...] = ()
    """Host pids with a compute context now."""
    driver: str | None = None
    trouble: str | None = None
    """Why it can't be used; None when healthy."""
    vendor: str = "nvidia"
    """`nvidia` or `amd`."""
    brand: str | None = None
    """`GeForce`, `Tesla`, …: what the driver calls the product line."""
    cuda: tuple[int, int] | None = None
    """The newest CUDA that the driver runs: `(13, 0)`."""
    used_bytes: int | None = None
    """Memory in use, without the driver's own reserve where it tells them apart."""
    busy_percent: int | None = None
    """Share of the last moment in which a kernel ran. Not told of a GPU in slices."""
    power_w: float | None = None
    power_limit_w: float | None = None
    """What the driver holds it to: the owner's limit, or the board's."""
    temperature_c: float | None = None
    numa_node: int | None = None
    """The host's NUMA node at whose PCIe the GPU is."""
    cpus: str | None = None
    """The CPUs near it, as the kernel lists them: `0-31,64-95`."""
    mig: tuple[MigInstance, ...] = ()
    mig_enabled: bool = False
    processes: tuple[GpuProcess, ...] = ()
    warnings: tuple[str, ...] = ()
    """Usable, but: throttled, ECC off, a remap pending, …"""
    render_nodes: tuple[str, ...] = ()
    """`/dev/dri/card0`, `/dev/dri/renderD128`."""
    unknown: tuple[tuple[str, str], ...] = ()
    """What the driver would not tell, and why: `("used_bytes", "Not Supported")`."""
