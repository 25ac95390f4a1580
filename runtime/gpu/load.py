"""What GPUs do now: one reading of each leased device or MIG slice, every value there or with the reason why it isn't.

A slice has memory and processes of its own; clocks and temperature are its card's; what the card uses of power is not told apart.
Called where NVML is open (`nvml.opened`), in a process of its own: a call can hang. Traffic is counted since some moment in the
past; its speed is the difference of two readings.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from runtime.gpu.nvml import Answers
from runtime.gpu.slice_use import SliceUse

GPU_IS_LOST = 15
"""NVML_ERROR_GPU_IS_LOST: it has fallen off the bus, or can't be talked to any more."""

# Fields of nvmlDeviceGetFieldValues (nvml.h), and what one unit of their counters is.
_TRAFFIC = {
    "pcie_sent_bytes": (197, 1),
    "pcie_received_bytes": (198, 1),
    "nvlink_sent_bytes": (138, 1024),
    "nvlink_received_bytes": (139, 1024),
}
_NVLINKS = frozenset({"nvlink_sent_bytes", "nvlink_received_bytes"})
_ALL_LINKS = 0xFFFFFFFF
_GRAPHICS_TEMPERATURE = 0
_SM_CLOCK, _MEMORY_CLOCK = 1, 2
_SEND, _RECEIVE = 0, 1
_OF_THE_CARD = "measured for the whole card only"


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


class LoadReader:
    """Reads *uuids*, GPUs or MIG slices, again and again; one that fails hides no other. *nvml* is `nvml.opened`'s."""

    def __init__(self, nvml: Any, uuids: Sequence[str]) -> None:
        self._nvml = nvml
        self.uuids = tuple(sorted(uuids, key=lambda uuid: (_bus_position(nvml, uuid), uuid)))
        """As NVML counts their cards, which is by PCI bus, and so does CUDA with CUDA_DEVICE_ORDER=PCI_BUS_ID."""
        self._use = {uuid: SliceUse() for uuid in self.uuids if _is_slice(uuid)}

    def read(self) -> tuple[GpuLoad, ...]:
        return tuple(self._read(uuid) for uuid in self.uuids)

    def _read(self, uuid: str) -> GpuLoad:
        nvml, answers = self._nvml, Answers(self._nvml)
        device = answers.ask("device", lambda: nvml.nvmlDeviceGetHandleByUUID(uuid))
        values = (
            {} if device is None else self._of_slice(uuid, device, answers) if _is_slice(uuid) else self._of_gpu(device, answers)
        )
        return GpuLoad(uuid, **values, lost=GPU_IS_LOST in answers.codes, missing=answers.unknown)

    def _of_gpu(self, device: Any, answers: Answers) -> dict[str, Any]:
        nvml = self._nvml
        power_mw = answers.ask("power_w", lambda: nvml.nvmlDeviceGetPowerUsage(device))
        energy_mj = answers.ask("energy_j", lambda: nvml.nvmlDeviceGetTotalEnergyConsumption(device))
        return {
            **_of_either(nvml, device, answers),
            **_of_card(nvml, device, answers),
            **_traffic(nvml, device, answers),
            "busy_percent": answers.ask("busy_percent", lambda: nvml.nvmlDeviceGetUtilizationRates(device).gpu),
            "power_w": None if power_mw is None else power_mw / 1000,
            "energy_j": None if energy_mj is None else energy_mj / 1000,
        }

    def _of_slice(self, uuid: str, device: Any, answers: Answers) -> dict[str, Any]:
        nvml = self._nvml
        values = _of_either(nvml, device, answers)
        card = answers.ask("card", lambda: nvml.nvmlDeviceGetDeviceHandleFromMigDeviceHandle(device))
        if card is not None:
            values |= _of_card(nvml, card, answers)
            values["busy_percent"] = self._use[uuid].busy_percent(nvml, card, device, answers)
        answers.unknown |= dict.fromkeys(("power_w", "energy_j", *_TRAFFIC), _OF_THE_CARD)
        return values


def _is_slice(uuid: str) -> bool:
    return uuid.startswith("MIG-")


def _bus_position(nvml: Any, uuid: str) -> int:
    try:
        device = nvml.nvmlDeviceGetHandleByUUID(uuid)
        card = nvml.nvmlDeviceGetDeviceHandleFromMigDeviceHandle(device) if _is_slice(uuid) else device
        return int(nvml.nvmlDeviceGetIndex(card))
    except nvml.NVMLError:
        return 1 << 16


def _of_either(nvml: Any, device: Any, answers: Answers) -> dict[str, Any]:
    """What a slice has of its own."""
    memory = answers.ask(
        "used_bytes",
        lambda: nvml.nvmlDeviceGetMemoryInfo(device, version=nvml.nvmlMemory_v2),
        lambda: nvml.nvmlDeviceGetMemoryInfo(device),  # before 510, with the driver's own reserve in it
    )
    running = answers.ask(
        "pids",
        lambda: nvml.nvmlDeviceGetComputeRunningProcesses(device),
        lambda: nvml.nvmlDeviceGetComputeRunningProcesses_v2(device),  # before 510
    )
    return {
        "used_bytes": None if memory is None else int(memory.used),
        "memory_bytes": None if memory is None else int(memory.total),
        "pids": None if running is None else tuple(sorted({int(process.pid) for process in running})),
    }


def _of_card(nvml: Any, card: Any, answers: Answers) -> dict[str, Any]:
    """What its slices share."""
    return {
        "temperature_c": answers.ask(
            "temperature_c",
            lambda: nvml.nvmlDeviceGetTemperatureV(card, _GRAPHICS_TEMPERATURE),
            lambda: nvml.nvmlDeviceGetTemperature(card, _GRAPHICS_TEMPERATURE),  # until CUDA 14
        ),
        "sm_clock_mhz": answers.ask("sm_clock_mhz", lambda: nvml.nvmlDeviceGetClockInfo(card, _SM_CLOCK)),
        "memory_clock_mhz": answers.ask("memory_clock_mhz", lambda: nvml.nvmlDeviceGetClockInfo(card, _MEMORY_CLOCK)),
        "clock_reasons": answers.ask(
            "clock_reasons",
            lambda: int(nvml.nvmlDeviceGetCurrentClocksEventReasons(card)),
            lambda: int(nvml.nvmlDeviceGetCurrentClocksThrottleReasons(card)),  # its name before 535
        ),
    }


def _traffic(nvml: Any, card: Any, answers: Answers) -> dict[str, Any]:
    asked = [(number, _ALL_LINKS) if name in _NVLINKS else number for name, (number, _unit) in _TRAFFIC.items()]
    told = answers.ask("traffic", lambda: nvml.nvmlDeviceGetFieldValues(card, asked))
    counted: dict[str, Any] = {}
    for (name, (_number, unit)), answer in zip(_TRAFFIC.items(), told or (), strict=False):
        if answer.nvmlReturn == 0:
            counted[name] = _number_in(answer) * unit
        else:
            answers.unknown[name] = str(nvml.NVMLError(answer.nvmlReturn))
    return counted if "pcie_sent_bytes" in counted else counted | _pcie_speeds(nvml, card, answers)


def _pcie_speeds(nvml: Any, card: Any, answers: Answers) -> dict[str, Any]:
    """What drivers before the counters tell; each call takes the 20 ms that it looks at."""
    return {
        "pcie_send_bytes_per_s": answers.ask(
            "pcie_send_bytes_per_s", lambda: nvml.nvmlDeviceGetPcieThroughput(card, _SEND) * 1024
        ),
        "pcie_receive_bytes_per_s": answers.ask(
            "pcie_receive_bytes_per_s", lambda: nvml.nvmlDeviceGetPcieThroughput(card, _RECEIVE) * 1024
        ),
    }


def _number_in(answer: Any) -> float:
    """The value of a field, which is one of several C types (nvmlValueType_t)."""
    kinds = ("dVal", "uiVal", "ulVal", "ullVal", "sllVal", "siVal", "usVal")
    return float(getattr(answer.value, kinds[answer.valueType] if answer.valueType < len(kinds) else "ullVal"))


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
