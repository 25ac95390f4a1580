"""Who is next: pure. First come, first served, the higher priority before; who fits beside them need not wait.

Those in the queue are gone through in order. Who fits takes; for who doesn't, devices are kept: as many as it wants, those that
are free first. Later ones take what nobody keeps. So a run that wants eight GPUs gets them when those who have them now have
ended, however many small ones come after it, and small ones use what it can't.

One who promises to end (a `timeout`) before the kept devices are complete (those who hold the rest have a `timeout` too) may use
them meanwhile: that delays nobody.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from launcher.schedule.device import Device
from launcher.schedule.device_request import DeviceRequest, QueuedRun
from launcher.schedule.placement import choose, groups, is_linked
from runtime.gpu.topology import Topology
from runtime.light_dataclasses import dataclass, field

_NEVER = float("-inf")


@dataclass(frozen=True, slots=True)
class QueueDecision:
    """What one run in the queue may do now."""

    uuids: tuple[str, ...] | None
    """Take these; None: wait."""
    place: int
    """From 1 on."""
    of: int
    free: tuple[str, ...] = ()
    """What it could use and is free, whoever it is kept for."""
    kept: Mapping[str, str] = field(default_factory=dict)
    """Of those, what is kept for a run ahead: UUID → that run."""
    promised: Mapping[str, str] = field(default_factory=dict)
    """What a run ahead may take now and has not taken yet: UUID → that run."""


@dataclass(slots=True)
class _Kept:
    run: str
    until: float
    """When the device's keeper may have all it waits for; _NEVER when nobody knows."""


def decide(
    mine: QueuedRun, others: Iterable[QueuedRun], devices: Mapping[str, Device], topology: Topology, *, now: float
) -> QueueDecision:
    """What *mine* may do while *others* wait too."""
    queue = sorted([mine, *others], key=lambda entry: entry.order)
    left, kept, promised = dict(devices), dict[str, _Kept](), dict[str, str]()
    for place, entry in enumerate(queue, 1):
        ends = now + entry.lasts_s if entry.lasts_s is not None else float("inf")
        usable = {uuid: device for uuid, device in left.items() if uuid not in kept or ends <= kept[uuid].until}
        chosen = choose(entry.request, usable, topology)
        if entry is mine:
            free = tuple(uuid for uuid in entry.request.offers if uuid in left and left[uuid].is_free(entry.request.slots))
            return QueueDecision(
                chosen, place, len(queue), free, {uuid: kept[uuid].run for uuid in free if uuid in kept}, promised
            )
        if chosen is not None:  # it is about to take them
            left |= {uuid: left[uuid].after_lease(entry.request.slots) for uuid in chosen}
            promised |= dict.fromkeys(chosen, entry.run)
        else:
            for uuid, until in _keep(entry.request, left, kept, topology).items():
                kept[uuid] = _Kept(entry.run, until)
    raise AssertionError("mine is in the queue")


def _keep(
    request: DeviceRequest, devices: Mapping[str, Device], kept: Mapping[str, _Kept], topology: Topology
) -> dict[str, float]:
    """The devices that *request* will have, the most that is free already, and when they will all be free. None are kept for one
    that can't go on without what is used outside launch: nobody knows whether that ever ends, and the others shall not wait."""
    offered = [
        devices[uuid] for uuid in request.offers if uuid in devices and uuid not in kept and not _is_foreign(devices[uuid])
    ]
    possible = [group for group in groups(offered, request.count, topology) if not request.linked or is_linked(group, topology)]
    if not possible:
        return {}
    group = min(possible, key=lambda group: _wait(group, request))
    complete = _complete_at(group, request)
    return {device.uuid: complete for device in group}


def _is_foreign(device: Device) -> bool:
    return device.foreign is not None and not device.foreign.leaving


def _wait(group: Sequence[Device], request: DeviceRequest) -> tuple[int, float, int, list[str]]:
    """How long *group* is to be waited for: the fewest devices, then the first to be free."""
    missing = sum(not device.is_free(request.slots) for device in group)
    complete = _complete_at(group, request)
    part_taken = -sum(device.free_slots for device in group)
    return (missing, float("inf") if complete == _NEVER else complete, part_taken, sorted(device.uuid for device in group))


def _complete_at(group: Sequence[Device], request: DeviceRequest) -> float:
    """When all of *group* is free at the latest; _NEVER when one of its holders has no end, or is outside launch."""
    latest = 0.0
    for device in group:
        if device.is_free(request.slots):
            continue
        ends = [holder.until for holder in device.holders]
        if device.foreign is not None or not ends or None in ends:
            return _NEVER
        latest = max([latest, *(end for end in ends if end is not None)])
    return latest
