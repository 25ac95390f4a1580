"""Who is next: pure. First come, first served, the higher priority before; who fits beside them need not wait.

Those in the line are gone through in order. Who fits takes; for who doesn't, devices are kept: as many as it wants, those that
are free first. Later ones take what nobody keeps. So a run that wants eight GPUs gets them when those who have them now have
ended, however many small ones come after it, and small ones use what it can't.

One who promises to end (a `timeout`) before the kept devices are complete (those who hold the rest have a `timeout` too) may use
them meanwhile: that delays nobody.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from launcher.schedule.device import Device
from launcher.schedule.device_request import Waiter, Want
from launcher.schedule.groups import groups, is_linked
from launcher.schedule.placement import choose
from runtime.gpu.topology import Topology

_NEVER = float("-inf")


@dataclass(frozen=True, slots=True)
class Turn:
    """What one run in the line may do now."""

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


def turn(mine: Waiter, others: Iterable[Waiter], devices: Mapping[str, Device], topology: Topology, *, now: float) -> Turn:
    """What *mine* may do while *others* wait too."""
    line = sorted([mine, *others], key=lambda waiter: waiter.order)
    left, kept, promised = dict(devices), dict[str, _Kept](), dict[str, str]()
    for place, waiter in enumerate(line, 1):
        ends = now + waiter.lasts_s if waiter.lasts_s is not None else float("inf")
        usable = {uuid: device for uuid, device in left.items() if uuid not in kept or ends <= kept[uuid].until}
        chosen = choose(waiter.want, usable, topology)
        if waiter is mine:
            free = tuple(uuid for uuid in waiter.want.offers if uuid in left and left[uuid].is_free(waiter.want.slots))
            return Turn(chosen, place, len(line), free, {uuid: kept[uuid].run for uuid in free if uuid in kept}, promised)
        if chosen is not None:  # it is about to take them
            left |= {uuid: left[uuid].given(waiter.want.slots) for uuid in chosen}
            promised |= dict.fromkeys(chosen, waiter.run)
        else:
            for uuid, until in _keep(waiter.want, left, kept, topology).items():
                kept[uuid] = _Kept(waiter.run, until)
    raise AssertionError("mine is in the line")


def _keep(want: Want, devices: Mapping[str, Device], kept: Mapping[str, _Kept], topology: Topology) -> dict[str, float]:
    """The devices that *want* will have, the most that is free already, and when they will all be free. None are kept for one
    that can't go on without a stranger's: nobody knows whether that one ever ends, and the others shall not wait for it."""
    offered = [devices[uuid] for uuid in want.offers if uuid in devices and uuid not in kept and not _is_strangers(devices[uuid])]
    possible = [group for group in groups(offered, want.count, topology) if not want.linked or is_linked(group, topology)]
    if not possible:
        return {}
    group = min(possible, key=lambda group: _wait(group, want))
    complete = _complete_at(group, want)
    return {device.uuid: complete for device in group}


def _is_strangers(device: Device) -> bool:
    return device.stranger is not None and not device.stranger.leaving


def _wait(group: Sequence[Device], want: Want) -> tuple[int, float, int, list[str]]:
    """How long *group* is to be waited for: the fewest devices, then the first to be free."""
    missing = sum(not device.is_free(want.slots) for device in group)
    complete = _complete_at(group, want)
    part_taken = -sum(device.free_slots for device in group)
    return (missing, float("inf") if complete == _NEVER else complete, part_taken, sorted(device.uuid for device in group))


def _complete_at(group: Sequence[Device], want: Want) -> float:
    """When all of *group* is free at the latest; _NEVER when one of its holders has no end, or is outside launch."""
    latest = 0.0
    for device in group:
        if device.is_free(want.slots):
            continue
        ends = [holder.until for holder in device.holders]
        if device.stranger is not None or not ends or None in ends:
            return _NEVER
        latest = max([latest, *(end for end in ends if end is not None)])
    return latest
