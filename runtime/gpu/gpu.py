"""A GPU of this machine, NVIDIA's or AMD's, and what it does now, as values.

Reading the first is `inventory.py`, the second `nvidia/load_reader.py` and `amd.py`; who may use them is `leases/lease.py`.
"""

from __future__ import annotations

from typing import Any

from runtime.light_dataclasses import asdict, dataclass, field, fields


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
    counted: bool | None = True
    """Whether CUDA counts it, which it does with many a GPU in trouble; None where nobody can tell."""
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

    @property
    def computing(self) -> dict[str, list[GpuProcess]]:
        """UUID of the GPU, or of an instance of it → the processes that compute there: none that only draw."""
        found: dict[str, list[GpuProcess]] = {}
        for process in self.processes:
            if process.kind != "graphics":
                found.setdefault(process.mig or self.uuid or "", []).append(process)
        return found


@dataclass(frozen=True, slots=True)
class GpuLoad:
    """One reading of one device. None: not told, and `missing` says why."""

    uuid: str
    busy_percent: float | None = None
    """Share of the last moment in which a kernel ran; says nothing of how much of the GPU it used."""
    used_bytes: int | None = None
    memory_bytes: int | None = None
    power_w: float | None = None
    energy_j: float | None = None
    """Since the driver was loaded."""
    temperature_c: float | None = None
    sm_clock_mhz: float | None = None
    memory_clock_mhz: float | None = None
    clock_reasons: int | None = None
    """Why the clocks are as they are, as NVML's bits (`slowdowns`)."""
    pcie_sent_bytes: float | None = None
    pcie_received_bytes: float | None = None
    pcie_send_bytes_per_s: float | None = None
    """Of the last 20 ms; only where nothing counts the bytes."""
    pcie_receive_bytes_per_s: float | None = None
    nvlink_sent_bytes: float | None = None
    nvlink_received_bytes: float | None = None
    pids: tuple[int, ...] | None = None
    """Host pids with a context on it."""
    lost: bool = False
    missing: dict[str, str] = field(default_factory=dict)
    """Name of a value that is None → why."""

    def to_json(self) -> dict[str, Any]:
        """Without what is not told; `from_json` reads it."""
        return {name: value for name, value in asdict(self).items() if value is not None}

    @classmethod
    def from_json(cls, document: dict[str, Any]) -> GpuLoad:
        known = {one.name for one in fields(cls)}
        values = {name: value for name, value in document.items() if name in known}
        return cls(**{**values, "pids": None if values.get("pids") is None else tuple(values["pids"])})


SLOWDOWNS = {
    0x08: "hardware slowdown",
    0x20: "software thermal slowdown: it is too hot for its full speed",
    0x40: "hardware thermal slowdown: it is much too hot",
    0x80: "power brake: the machine's power supply asks for less",
}
"""Bits of `clock_reasons` that cost speed and shouldn't be; idle, a power cap and chosen clocks are ordinary."""


def slowdowns(clock_reasons: int | None) -> tuple[str, ...]:
    """What slows the GPU down that shouldn't, in words. Bit 8 comes with the two that say why it is set."""
    bits = clock_reasons or 0
    if bits & 0xC0:
        bits &= ~0x08
    return tuple(words for bit, words in SLOWDOWNS.items() if bits & bit)
