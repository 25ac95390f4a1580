"""What NVIDIA's GPUs do now, by NVML: each leased device or MIG slice, again and again.

A slice has memory and processes of its own; clocks and temperature are its card's; what the card uses of power is not told apart.
Called where NVML is open (`open_nvml`), in a process of its own: a call can hang. Traffic is counted since some moment in the
past; its speed is the difference of two readings.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from runtime.gpu.gpu import GpuLoad
from runtime.gpu.nvidia.nvml import Answers
from runtime.gpu.nvidia.process_lists import read_compute_pids

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
_GRAPHICS_UTIL = 1
"""NVML_GPM_METRIC_GRAPHICS_UTIL: share of the time in which a compute or graphics engine was busy."""


class LoadReader:
    """Reads *uuids*, GPUs or MIG slices, again and again; one that fails hides no other. *nvml* is `open_nvml`'s."""

    def __init__(self, nvml: Any, uuids: Sequence[str]) -> None:
        self._nvml = nvml
        self._driver = Answers(nvml).ask("driver", nvml.nvmlSystemGetDriverVersion)
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
        energy_mj = answers.ask("energy_j", lambda: nvml.nvmlDeviceGetTotalEnergyConsumption(device))
        return {
            **self._of_either(device, answers),
            **_of_card(nvml, device, answers),
            **_traffic(nvml, device, answers),
            **read_busy(nvml, device, answers),
            "energy_j": None if energy_mj is None else energy_mj / 1000,
        }

    def _of_slice(self, uuid: str, device: Any, answers: Answers) -> dict[str, Any]:
        nvml = self._nvml
        values = self._of_either(device, answers)
        card = answers.ask("card", lambda: nvml.nvmlDeviceGetDeviceHandleFromMigDeviceHandle(device))
        if card is not None:
            values |= _of_card(nvml, card, answers)
            values["busy_percent"] = self._use[uuid].busy_percent(nvml, card, device, answers)
        answers.unknown |= dict.fromkeys(("power_w", "energy_j", *_TRAFFIC), _OF_THE_CARD)
        return values

    def _of_either(self, device: Any, answers: Answers) -> dict[str, Any]:
        """What a slice has of its own."""
        pids = read_compute_pids(self._nvml, device, answers, driver=self._driver)
        return {**read_memory(self._nvml, device, answers), "pids": pids}


def _is_slice(uuid: str) -> bool:
    return uuid.startswith("MIG-")


def _bus_position(nvml: Any, uuid: str) -> int:
    try:
        device = nvml.nvmlDeviceGetHandleByUUID(uuid)
        card = nvml.nvmlDeviceGetDeviceHandleFromMigDeviceHandle(device) if _is_slice(uuid) else device
        return int(nvml.nvmlDeviceGetIndex(card))
    except nvml.NVMLError:
        return 1 << 16


def _of_card(nvml: Any, card: Any, answers: Answers) -> dict[str, Any]:
    """What its slices share."""
    return {
        "temperature_c": read_temperature(nvml, card, answers),
        "sm_clock_mhz": answers.ask("sm_clock_mhz", lambda: nvml.nvmlDeviceGetClockInfo(card, _SM_CLOCK)),
        "memory_clock_mhz": answers.ask("memory_clock_mhz", lambda: nvml.nvmlDeviceGetClockInfo(card, _MEMORY_CLOCK)),
        "clock_reasons": read_clock_reasons(nvml, card, answers),
    }


def read_memory(nvml: Any, device: Any, answers: Answers) -> dict[str, int | None]:
    """Memory of a GPU or a slice, all of it and what is in use."""
    memory = answers.ask(
        "used_bytes",
        # The first version counts the driver's own reserve as used: 650 MB of an idle H100.
        lambda: nvml.nvmlDeviceGetMemoryInfo(device, version=nvml.nvmlMemory_v2),
        lambda: nvml.nvmlDeviceGetMemoryInfo(device),  # before 510
    )
    return {
        "memory_bytes": None if memory is None else int(memory.total),
        "used_bytes": None if memory is None else int(memory.used),
    }


def read_busy(nvml: Any, card: Any, answers: Answers) -> dict[str, float | None]:
    """How busy a whole card is, and what power that takes."""
    power_mw = answers.ask("power_w", lambda: nvml.nvmlDeviceGetPowerUsage(card))
    return {
        "busy_percent": answers.ask("busy_percent", lambda: nvml.nvmlDeviceGetUtilizationRates(card).gpu),
        "power_w": None if power_mw is None else power_mw / 1000,
    }


def read_temperature(nvml: Any, card: Any, answers: Answers) -> float | None:
    found: float | None = answers.ask(
        "temperature_c",
        lambda: nvml.nvmlDeviceGetTemperatureV(card, _GRAPHICS_TEMPERATURE),
        lambda: nvml.nvmlDeviceGetTemperature(card, _GRAPHICS_TEMPERATURE),  # until CUDA 14
    )
    return found


def read_clock_reasons(nvml: Any, card: Any, answers: Answers) -> int | None:
    """NVML's bits for why the clocks are as they are (`load.slowdowns`)."""
    found: int | None = answers.ask(
        "clock_reasons",
        lambda: int(nvml.nvmlDeviceGetCurrentClocksEventReasons(card)),
        lambda: int(nvml.nvmlDeviceGetCurrentClocksThrottleReasons(card)),  # its name before 535
    )
    return found


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


class SliceUse:
    """How busy one MIG slice is: counters of the GPU (GPM, since Hopper) at two moments. NVML's own rate of use is for whole
    cards."""

    def __init__(self) -> None:
        self._before: Any = None

    def busy_percent(self, nvml: Any, card: Any, device: Any, answers: Answers) -> float | None:
        """Since the last call; None at the first. *device* is the slice, of *card*."""
        now = answers.ask("busy_percent", lambda: self._sample(nvml, card, device))
        before, self._before = self._before, now
        if now is None or before is None:
            return None
        busy = answers.ask("busy_percent", lambda: _compare(nvml, before, now))
        nvml.nvmlGpmSampleFree(before)
        return None if busy is None else float(busy)

    def _sample(self, nvml: Any, card: Any, device: Any) -> Any:
        sample = nvml.nvmlGpmSampleAlloc()
        try:
            return nvml.nvmlGpmMigSampleGet(card, nvml.nvmlDeviceGetGpuInstanceId(device), sample)
        except BaseException:
            nvml.nvmlGpmSampleFree(sample)
            raise


def _compare(nvml: Any, before: Any, now: Any) -> float:
    question = nvml.c_nvmlGpmMetricsGet_t()
    question.version, question.numMetrics = nvml.NVML_GPM_METRICS_GET_VERSION, 1
    question.sample1, question.sample2 = before, now
    question.metrics[0].metricId = _GRAPHICS_UTIL
    answer = nvml.nvmlGpmMetricsGet(question).metrics[0]
    if answer.nvmlReturn != 0:
        raise nvml.NVMLError(answer.nvmlReturn)
    return float(answer.value)
