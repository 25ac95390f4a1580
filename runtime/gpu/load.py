"""What a GPU does now, as a value: one reading of a device or MIG slice, every value there or with the reason why it isn't.

Readers are `nvidia/load_reader.py` and `amd.py`.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, fields
from typing import Any


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
