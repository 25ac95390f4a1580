"""NVML's lists of the processes on a GPU or a slice, and which of its calls can be trusted with which driver.

By PIDs of the host, whatever namespace the processes are in. The newest call is lacking before driver 510; from 535.43 to 535.86
it fills its list with entries of another size (fixed in 535.98), and the one before it is right.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from runtime.gpu.nvidia.nvml import Answers

_KINDS = {"compute": "Compute", "graphics": "Graphics", "mps": "MPSCompute"}
_NONE = 0xFFFFFFFF


def read_processes(nvml: Any, device: Any, answers: Answers, *, driver: str | None) -> list[dict[str, Any]]:
    """The processes with a context on *device*, each once; what can't be read is in *answers* as `processes`."""
    found: dict[int, dict[str, Any]] = {}
    for kind, word in _KINDS.items():
        calls = _calls(nvml, word, device, driver)
        reason = "processes" if kind == "compute" else f"{kind} processes"
        for process in answers.ask(reason, *calls) or ():
            found.setdefault(int(process.pid), {"pid": int(process.pid), "kind": kind, **_details(process)})
    return list(found.values())


def read_compute_pids(nvml: Any, device: Any, answers: Answers, *, driver: str | None) -> tuple[int, ...] | None:
    """PIDs of those that compute on *device*; None where they can't be read, and then *answers* has why as `pids`."""
    running = answers.ask("pids", *_calls(nvml, _KINDS["compute"], device, driver))
    return None if running is None else tuple(sorted({int(process.pid) for process in running}))


def has_wrong_structures(driver: str | None) -> bool:
    """The drivers 535.43 to 535.86 fill the newest call's list with entries of another size."""
    major, _, rest = (driver or "").partition(".")
    minor = rest.partition(".")[0]
    return major == "535" and minor.isdigit() and 43 <= int(minor) <= 86


def _calls(nvml: Any, kind: str, device: Any, driver: str | None) -> Iterable[Callable[[], Any]]:
    """The newest call, and the one before it, as far as *driver* has them right."""

    def older() -> Any:
        return getattr(nvml, f"nvmlDeviceGet{kind}RunningProcesses_v2")(device)

    def newest() -> Any:
        return getattr(nvml, f"nvmlDeviceGet{kind}RunningProcesses_v3")(device)

    return (older,) if has_wrong_structures(driver) else (newest, older)


def _details(process: Any) -> dict[str, Any]:
    slot = (getattr(process, "gpuInstanceId", _NONE), getattr(process, "computeInstanceId", _NONE))
    return {
        "used_bytes": None if process.usedGpuMemory is None else int(process.usedGpuMemory),
        "slot": None if slot[0] in (None, _NONE) else [int(slot[0]), int(slot[1])],
    }
