"""Which processes have a context on a GPU, as NVML tells: PIDs of the host, whatever namespace a process is in."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from runtime.gpu.gpu import GpuProcess, MigInstance
from runtime.gpu.nvml import Answers

_KINDS = {"compute": "Compute", "graphics": "Graphics", "mps": "MPSCompute"}
_NONE = 0xFFFFFFFF


def running(nvml: Any, device: Any, answers: Answers, *, driver: str | None) -> list[dict[str, Any]]:
    """The processes with a context on *device*, each once; what can't be read is in *answers* as `processes`."""
    found: dict[int, dict[str, Any]] = {}
    for kind, word in _KINDS.items():
        calls = _calls(nvml, f"nvmlDeviceGet{word}RunningProcesses", device, driver)
        name = "processes" if kind == "compute" else f"{kind} processes"
        for process in answers.ask(name, *calls) or ():
            found.setdefault(int(process.pid), {"pid": int(process.pid), "kind": kind, **_details(process)})
    return list(found.values())


def has_wrong_structures(driver: str | None) -> bool:
    """The drivers 535.43 to 535.86 fill the newest call's list with entries of another size."""
    major, _, rest = (driver or "").partition(".")
    minor = rest.partition(".")[0]
    return major == "535" and minor.isdigit() and 43 <= int(minor) <= 86


def _calls(nvml: Any, name: str, device: Any, driver: str | None) -> Iterable[Callable[[], Any]]:
    """The newest call, and the one before it for drivers before 510, which lack the newest."""

    def older() -> Any:
        return getattr(nvml, f"{name}_v2")(device)

    def newest() -> Any:
        return getattr(nvml, f"{name}_v3")(device)

    return (older,) if has_wrong_structures(driver) else (newest, older)


def _details(process: Any) -> dict[str, Any]:
    slot = (getattr(process, "gpuInstanceId", _NONE), getattr(process, "computeInstanceId", _NONE))
    return {
        "used_bytes": None if process.usedGpuMemory is None else int(process.usedGpuMemory),
        "slot": None if slot[0] in (None, _NONE) else [int(slot[0]), int(slot[1])],
    }


def as_values(found: Iterable[dict[str, Any]], slices: Iterable[MigInstance]) -> tuple[GpuProcess, ...]:
    by_slot = {(one.gpu_instance, one.compute_instance): one.uuid for one in slices}
    return tuple(
        GpuProcess(
            pid=process["pid"],
            used_bytes=process["used_bytes"],
            kind=process["kind"],
            mig=by_slot.get(tuple(process["slot"])) if process["slot"] else None,
        )
        for process in found
    )
