"""Who uses a GPU outside launch: pure. Such a GPU is left alone, and nobody on it is ever killed.

A foreign process is one with a compute context whose run holds no lease of that GPU; a process that only draws (X, a compositor)
is not. Memory in use that no visible process explains belongs to a container of somebody else's, or to a process that has ended
and whose memory the driver is still freeing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from runtime.gpu.gpu import Gpu, GpuProcess
from runtime.gpu.leases.lease import Occupancy
from runtime.light_dataclasses import dataclass

HIDDEN_BYTES = 500 << 20
"""More in use than this without a visible process is somebody's; an idle GPU with a loaded driver shows less."""


@dataclass(frozen=True, slots=True)
class ProcessOwner:
    """A process as people know it."""

    user: str
    name: str
    run: str | None = None
    """The run of ours that it belongs to."""


FindOwner = Callable[[int], ProcessOwner | None]
"""A pid as the driver tells it → who that is; None when there is no such process (any more)."""


@dataclass(frozen=True, slots=True)
class ForeignUse:
    """Somebody outside launch who uses a device."""

    words: str
    leaving: bool = False
    """It has ended, or is what a run of ours left: the device is free in a moment."""


def find_foreign_use(gpus: Iterable[Gpu], occupied: Mapping[str, Occupancy], find: FindOwner) -> dict[str, ForeignUse]:
    """UUID of a GPU or a MIG instance → who uses it outside launch."""
    found: dict[str, ForeignUse] = {}
    for gpu in gpus:
        if gpu.uuid is None:
            continue
        for device, processes in gpu.computing.items():
            there = _foreign_among(processes, occupied.get(device, Occupancy()), find)
            if there:
                found[device] = ForeignUse(", ".join(one.words for one in there), all(one.leaving for one in there))
        if gpu.uuid not in found and (hidden := _hidden_use(gpu, occupied.get(gpu.uuid, Occupancy()))) is not None:
            found[gpu.uuid] = hidden
    return found


def _foreign_among(processes: Iterable[GpuProcess], occupancy: Occupancy, find: FindOwner) -> list[ForeignUse]:
    runs = {holder.run for holder in occupancy.holders if holder.run}
    there = []
    for process in processes:
        who = find(process.pid)
        if who is None:
            there.append(ForeignUse(f"pid {process.pid}, which has ended and whose memory is being freed", leaving=True))
        elif who.run is not None and who.run not in runs:
            there.append(ForeignUse(f"pid {process.pid} `{who.name}` of run {who.run}, which has ended", leaving=True))
        elif who.run is None:
            there.append(ForeignUse(f"pid {process.pid} `{who.name}` of {who.user}, outside launch"))
    return there


def _hidden_use(gpu: Gpu, occupancy: Occupancy) -> ForeignUse | None:
    """Of a GPU that others share, or that is sliced, nobody can tell whose memory that is."""
    if gpu.processes or gpu.mig_enabled or occupancy.holders or (gpu.used_bytes or 0) <= HIDDEN_BYTES:
        return None
    assert gpu.used_bytes is not None
    gib = gpu.used_bytes / (1 << 30)
    # Of a run that has just been killed, or of a container of somebody else's: only time tells.
    return ForeignUse(f"{gib:.1f} GiB of a process that is not to be seen here", leaving=True)
