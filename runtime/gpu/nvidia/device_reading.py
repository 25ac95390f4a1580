"""Everything that NVML tells of one GPU, as a JSON-able mapping: identity, memory, slices, processes, facts for its health."""

from __future__ import annotations

import re
from typing import Any

from runtime.gpu.nvidia.load_reader import read_busy, read_clock_reasons, read_memory, read_temperature
from runtime.gpu.nvidia.nvml import Answers
from runtime.gpu.nvidia.process_lists import has_wrong_structures, read_processes

_BRANDS = dict(
    enumerate(
        (
            *("Unknown", "Quadro", "Tesla", "NVS", "GRID", "GeForce", "Titan", "NVIDIA vApps", "NVIDIA vPC", "NVIDIA vCS"),
            *("NVIDIA vWS", "NVIDIA Cloud Gaming", "Quadro RTX", "NVIDIA RTX", "NVIDIA", "GeForce RTX", "Titan RTX"),
        )
    )
)
"""nvmlBrandType_t"""
_PROFILE = re.compile(r"\bMIG (\S+)$")
_UNCORRECTED, _SINCE_DRIVER_LOAD = 1, 0
_RECOVERY_ACTION_FIELD = 230
_MOST_LANES = 64
_MOST_SLICES = 64
"""Seven is what GPUs have had so far."""


def read_machine(nvml: Any) -> dict[str, Any]:
    """What NVML tells of the box: how many GPUs, the driver, the newest CUDA that it runs."""
    answers = Answers(nvml)
    # The older call answers with some version that it knows when libcuda is missing.
    calls = ("nvmlSystemGetCudaDriverVersion_v2", "nvmlSystemGetCudaDriverVersion")
    cuda = answers.ask("cuda", *(getattr(nvml, call) for call in calls))
    return {
        "count": int(nvml.nvmlDeviceGetCount()),
        "driver": answers.ask("driver", nvml.nvmlSystemGetDriverVersion),
        "cuda": None if not cuda else [cuda // 1000, cuda % 1000 // 10],
    }


def read_device(nvml: Any, index: int, *, driver: str | None) -> dict[str, Any]:
    """GPU number *index*. What can't be told is None, and `unknown` says why."""
    answers = Answers(nvml)
    device = answers.ask("device", lambda: nvml.nvmlDeviceGetHandleByIndex(index))
    if device is None:
        return {"index": index, "has_handle": False, "codes": sorted(answers.codes), "reason": answers.unknown["device"]}
    limit_mw = answers.ask("power_limit_w", lambda: nvml.nvmlDeviceGetEnforcedPowerLimit(device))
    facts = {
        "index": index,
        **_identity(nvml, device, answers),
        **read_memory(nvml, device, answers),
        **read_busy(nvml, device, answers),
        "power_limit_w": None if limit_mw is None else limit_mw / 1000,
        "temperature_c": read_temperature(nvml, device, answers),
        **_health(nvml, device, answers),
        **_slices(nvml, device, answers, driver),
    }
    facts["processes"] = _processes(read_processes(nvml, device, answers, driver=driver), facts["mig"])
    if has_wrong_structures(driver):
        facts["notes"] = [f"driver {driver} can tell wrong processes and memory of processes; newer ones don't"]
    return {**facts, "codes": sorted(answers.codes), "unknown": answers.unknown}


def _identity(nvml: Any, device: Any, answers: Answers) -> dict[str, Any]:
    capability = answers.ask("capability", lambda: nvml.nvmlDeviceGetCudaComputeCapability(device))
    pci = answers.ask("pci_bus_id", lambda: nvml.nvmlDeviceGetPciInfo(device).busId)
    return {
        "uuid": answers.ask("uuid", lambda: nvml.nvmlDeviceGetUUID(device)),
        "minor": answers.ask("minor", lambda: nvml.nvmlDeviceGetMinorNumber(device)),
        "model": answers.ask("model", lambda: nvml.nvmlDeviceGetName(device)),
        "brand": _BRANDS.get(answers.ask("brand", lambda: nvml.nvmlDeviceGetBrand(device))),
        "capability": None if capability is None else f"{capability[0]}.{capability[1]}",
        "pci_bus_id": pci,
    }


def _health(nvml: Any, device: Any, answers: Answers) -> dict[str, Any]:
    ask = answers.ask
    lanes = ask("PCIe lanes", lambda: (nvml.nvmlDeviceGetCurrPcieLinkWidth(device), nvml.nvmlDeviceGetMaxPcieLinkWidth(device)))
    action = ask("recovery action", lambda: nvml.nvmlDeviceGetFieldValues(device, [_RECOVERY_ACTION_FIELD])[0])
    rows = ask("remapped rows", lambda: nvml.nvmlDeviceGetRemappedRows(device))
    ecc = ask("ECC", lambda: nvml.nvmlDeviceGetEccMode(device))
    return {
        "ecc": None if ecc is None else [int(mode) for mode in ecc],
        "ecc_uncorrected": ask("ECC errors", lambda: nvml.nvmlDeviceGetTotalEccErrors(device, _UNCORRECTED, _SINCE_DRIVER_LOAD)),
        "remapped": None if rows is None else [int(row) for row in rows],
        "retired_pending": ask("retired pages", lambda: nvml.nvmlDeviceGetRetiredPagesPendingStatus(device)),
        "recovery": int(action.value.ullVal) if action is not None and action.nvmlReturn == 0 else None,
        "clock_reasons": read_clock_reasons(nvml, device, answers),
        "compute_mode": ask("compute mode", lambda: nvml.nvmlDeviceGetComputeMode(device)),
        "fabric": ask(
            "fabric",
            lambda: _fabric(nvml, device, nvml.c_nvmlGpuFabricInfo_v3_t()),
            lambda: _fabric(nvml, device, nvml.c_nvmlGpuFabricInfo_v2_t()),
        ),
        "pcie_width": None if lanes is None or max(lanes) > _MOST_LANES else list(lanes),
    }


def _fabric(nvml: Any, device: Any, info: Any) -> dict[str, int]:
    nvml.nvmlDeviceGetGpuFabricInfoV(device, nvml.byref(info))
    return {
        "state": int(info.state),
        "status": int(info.status),
        "mask": int(info.healthMask),
        "summary": int(getattr(info, "healthSummary", 0)),
    }


def _slices(nvml: Any, device: Any, answers: Answers, driver: str | None) -> dict[str, Any]:
    mode = answers.ask("MIG", lambda: nvml.nvmlDeviceGetMigMode(device))
    if not mode or not mode[0]:
        return {"mig_enabled": False, "mig": []}
    most = answers.ask("MIG instances", lambda: nvml.nvmlDeviceGetMaxMigDeviceCount(device)) or 0
    slices = [_slice(nvml, device, index, driver) for index in range(min(most, _MOST_SLICES))]
    return {"mig_enabled": True, "mig_pending": bool(mode[1]), "mig": [one for one in slices if one is not None]}


def _processes(of_gpu: list[dict[str, Any]], slices: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Those of the whole GPU, and those that only their slice tells."""
    known = {process["pid"] for process in of_gpu if process["slot"]}
    of_slices = [process for one in slices for process in one.pop("processes") if process["pid"] not in known]
    placed = {process["pid"] for process in of_slices}
    return [process for process in of_gpu if process["pid"] not in placed] + of_slices


def _slice(nvml: Any, device: Any, index: int, driver: str | None) -> dict[str, Any] | None:
    """The slice at *index*; None where there is a hole, which says nothing of what comes behind it."""
    answers = Answers(nvml)
    one = answers.ask("slice", lambda: nvml.nvmlDeviceGetMigDeviceHandleByIndex(device, index))
    uuid = None if one is None else answers.ask("uuid", lambda: nvml.nvmlDeviceGetUUID(one))
    if uuid is None:
        return None
    name = answers.ask("name", lambda: nvml.nvmlDeviceGetName(one)) or ""
    measured = read_memory(nvml, one, answers)
    profile = _PROFILE.search(name)
    slot = [
        answers.ask("instance", lambda: int(nvml.nvmlDeviceGetGpuInstanceId(one))),
        answers.ask("instance", lambda: int(nvml.nvmlDeviceGetComputeInstanceId(one))),
    ]
    if None in slot:
        return None
    return {
        "uuid": uuid,
        "gpu_instance": slot[0],
        "compute_instance": slot[1],
        "profile": profile[1] if profile else None,
        **measured,
        "index": index,
        "processes": [{**process, "slot": slot} for process in read_processes(nvml, one, answers, driver=driver)],
    }
