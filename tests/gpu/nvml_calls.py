"""Every call of NVML that launch makes, or that people compare with: `python nvml_calls.py` prints what each answers here.

One JSON object: call → {"value" or "reason", "ms"}. Run as a program, so that the real library and that of the made machine
(tests/gpu_box.py) answer side by side; `shape_of` says in what the answers may not differ.
"""

from __future__ import annotations

import ctypes
import json
import time
from collections.abc import Callable
from typing import Any

Call = Callable[[Any, Any], Any]

_OF_THE_MACHINE = (
    *("nvmlSystemGetDriverVersion", "nvmlSystemGetNVMLVersion", "nvmlSystemGetCudaDriverVersion"),
    *("nvmlSystemGetCudaDriverVersion_v2", "nvmlDeviceGetCount"),
)
_OF_A_GPU = (
    *("Name", "UUID", "Index", "MinorNumber", "Brand", "Serial", "Architecture", "CudaComputeCapability", "PciInfo"),
    *("MemoryInfo", "BAR1MemoryInfo", "ComputeMode", "PersistenceMode", "VbiosVersion", "EccMode", "RemappedRows"),
    *("RetiredPagesPendingStatus", "PcieReplayCounter", "CurrPcieLinkGeneration", "MaxPcieLinkGeneration"),
    *("CurrPcieLinkWidth", "MaxPcieLinkWidth", "CurrentClocksEventReasons", "CurrentClocksThrottleReasons", "NumaNodeId"),
    *("MigMode", "MaxMigDeviceCount", "ComputeRunningProcesses", "GraphicsRunningProcesses", "MPSComputeRunningProcesses"),
    *("AccountingMode", "AccountingPids", "AccountingBufferSize", "UtilizationRates", "PowerUsage", "EnforcedPowerLimit"),
    *("TotalEnergyConsumption", "PerformanceState", "SupportedEventTypes"),
)
_WITH_ARGUMENTS: dict[str, Call] = {
    "MemoryInfo_v2": lambda nvml, gpu: nvml.nvmlDeviceGetMemoryInfo(gpu, version=nvml.nvmlMemory_v2),
    "TotalEccErrors": lambda nvml, gpu: nvml.nvmlDeviceGetTotalEccErrors(gpu, 1, 0),
    "TemperatureV": lambda nvml, gpu: nvml.nvmlDeviceGetTemperatureV(gpu, 0),
    "Temperature": lambda nvml, gpu: nvml.nvmlDeviceGetTemperature(gpu, 0),
    "ClockInfo of the SMs": lambda nvml, gpu: nvml.nvmlDeviceGetClockInfo(gpu, 1),
    "ClockInfo of the memory": lambda nvml, gpu: nvml.nvmlDeviceGetClockInfo(gpu, 2),
    "CpuAffinity": lambda nvml, gpu: list(nvml.nvmlDeviceGetCpuAffinity(gpu, 8)),
    "MemoryAffinity": lambda nvml, gpu: list(nvml.nvmlDeviceGetMemoryAffinity(gpu, 4, 0)),
    "NvLinkState": lambda nvml, gpu: nvml.nvmlDeviceGetNvLinkState(gpu, 0),
    "NvLinkRemotePciInfo": lambda nvml, gpu: nvml.nvmlDeviceGetNvLinkRemotePciInfo(gpu, 0),
    "PcieThroughput": lambda nvml, gpu: nvml.nvmlDeviceGetPcieThroughput(gpu, 0),
    "ProcessUtilization": lambda nvml, gpu: nvml.nvmlDeviceGetProcessUtilization(gpu, 0),
    "MigDeviceHandleByIndex": lambda nvml, gpu: nvml.nvmlDeviceGetUUID(nvml.nvmlDeviceGetMigDeviceHandleByIndex(gpu, 0)),
    "fabric, v3": lambda nvml, gpu: _fabric(nvml, gpu, nvml.c_nvmlGpuFabricInfo_v3_t()),
    "fabric, v2": lambda nvml, gpu: _fabric(nvml, gpu, nvml.c_nvmlGpuFabricInfo_v2_t()),
    "fields": lambda nvml, gpu: [
        [one.fieldId, one.nvmlReturn, one.valueType] for one in nvml.nvmlDeviceGetFieldValues(gpu, [186, 185, 230, 197, 198])
    ],
}


def answers(nvml: Any) -> dict[str, dict[str, Any]]:
    """Of the machine and of its first GPU. *nvml* is the module pynvml, initialised."""
    found = {name: _asked(getattr(nvml, name)) for name in _OF_THE_MACHINE}
    gpu = nvml.nvmlDeviceGetHandleByIndex(0)
    found |= {name: _asked(lambda name=name: getattr(nvml, f"nvmlDeviceGet{name}")(gpu)) for name in _OF_A_GPU}
    return found | {name: _asked(lambda call=call: call(nvml, gpu)) for name, call in _WITH_ARGUMENTS.items()}


def shape_of(answer: dict[str, Any]) -> Any:
    """What kind of answer it is: types and names, no values; a refusal by its reason."""
    return answer["reason"] if "reason" in answer else _shape(answer["value"])


def _shape(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _shape(one) for name, one in value.items()}
    if isinstance(value, list):
        return [_shape(value[0])] if value else []
    return type(value).__name__


def _asked(call: Callable[[], Any]) -> dict[str, Any]:
    started = time.perf_counter()
    try:
        found = {"value": _plain(call())}
    except Exception as error:
        found = {"reason": f"{type(error).__name__}: {error}"}
    return found | {"ms": round(1000 * (time.perf_counter() - started), 3)}


def _plain(value: Any) -> Any:
    if isinstance(value, bytes):
        return value.decode(errors="replace")
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    if isinstance(value, ctypes.Structure):
        return {name: _plain(getattr(value, name)) for name, *_kind in value._fields_}
    if isinstance(value, ctypes.Array):
        return [_plain(one) for one in value]
    if isinstance(value, ctypes._SimpleCData):
        return value.value
    if hasattr(value, "__dict__"):  # nvidia-ml-py's friendly objects
        return {name: _plain(one) for name, one in vars(value).items()}
    return value if value is None or isinstance(value, int | float | str) else str(value)


def _fabric(nvml: Any, gpu: Any, into: Any) -> Any:
    nvml.nvmlDeviceGetGpuFabricInfoV(gpu, ctypes.byref(into))
    return into


def main() -> None:
    from runtime.gpu.nvidia.nvml import open_nvml

    started = time.perf_counter()
    with open_nvml() as nvml:
        up_ms = round(1000 * (time.perf_counter() - started), 1)
        print(json.dumps({"init_ms": up_ms, "answers": answers(nvml)}))


if __name__ == "__main__":
    main()
