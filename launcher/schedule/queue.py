"""The line of those who wait for GPUs, on disk: no daemon, all users of the machine, and whoever dies is out of it.

Each waiter holds an flock on a file of the lease directory, its place, in which stands what it wants. Whoever looks reads the
places that are held; so a waiter that was killed, at whatever moment, is not in the line any more. Files are used again and never
deleted. All look and take under one mutex (`runtime.gpu.leases.lease.placement_lock`), and all come to the
same conclusion (`scheduling.py`): who is next takes, the others go on waiting.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path

from launcher.schedule.device import Device, as_they_are
from launcher.schedule.device_request import Waiter, Want, from_document, to_document
from launcher.schedule.foreign_processes import Stranger
from launcher.schedule.scheduling import Turn, turn
from runtime.gpu.leases.lease import GpuLease, Occupancy, Unit, occupancy, placement_lock, take
from runtime.gpu.leases.lock_files import is_held, lock_path, read_hint, try_lock, write_hint
from runtime.gpu.topology import Topology

Strangers = Callable[[Mapping[str, Occupancy]], Mapping[str, Stranger]]
"""How devices are leased → who uses which of them outside launch (`strangers.py`)."""


@dataclass(frozen=True, slots=True)
class Place:
    """A waiter's place in the line."""

    waiter: Waiter
    fd: int


@dataclass(frozen=True, slots=True)
class Attempt:
    """What came of trying to be placed."""

    turn: Turn
    devices: Mapping[str, Device]
    """As they were at that moment."""
    lease: GpuLease | None
    only_strangers: bool = False
    """It is its turn but for those who use devices outside launch: no lock will tell when they end."""
    only_leaving: bool = False
    """It is its turn but for what ended runs have left on devices, which goes within seconds."""


@contextmanager
def in_line(directory: Path, waiter: Waiter) -> Iterator[Place]:
    """Stand in the line for the body, behind all who have the same priority."""
    with placement_lock(directory):
        number = 1 + max((other.number for other in waiting(directory)), default=0)
        place = _free_place(directory, replace(waiter, number=number))
    try:
        yield place
    finally:
        os.close(place.fd)


def standing(directory: Path, place: Place, want: Want) -> Place:
    """The same place for another *want*: the others judge by what stands there."""
    if want == place.waiter.want:
        return place
    waiter = replace(place.waiter, want=want)
    with placement_lock(directory):
        write_hint(place.fd, to_document(waiter))
    return Place(waiter, place.fd)


def waiting(directory: Path) -> list[Waiter]:
    """All who stand in the line, next first. Exact while the caller is `placement_lock`."""
    found = (from_document(read_hint(path)) for path in _places(directory) if is_held(path))
    return sorted((waiter for waiter in found if waiter is not None), key=lambda waiter: waiter.order)


def try_to_place(
    directory: Path,
    waiter: Waiter,
    devices: Sequence[Device],
    topology: Topology,
    *,
    strangers: Strangers,
) -> Attempt:
    """May *waiter* start now? Then it holds its lease; never waits. One that stands in no line comes after all who do."""
    with placement_lock(directory):
        now_there = _look(directory, devices, strangers=strangers)
        served = {(holder.run, holder.pid) for device in now_there.values() for holder in device.holders}
        # Who has its lease stands in the line until it has looked whether the devices are clean.
        others = [one for one in waiting(directory) if one != waiter and (one.run, one.pid) not in served]
        if not waiter.number:
            waiter = replace(waiter, number=1 + max((other.number for other in others), default=0))
        found = turn(waiter, others, now_there, topology, now=time.time())
        lease = None if found.uuids is None else take(directory, _units(found.uuids, waiter, now_there), _hint(waiter))

    def would_fit(without: Callable[[Stranger], bool]) -> bool:
        there = {uuid: _without(device, without) for uuid, device in now_there.items()}
        return lease is None and turn(waiter, others, there, topology, now=time.time()).uuids is not None

    return Attempt(found, now_there, lease, would_fit(lambda _all: True), would_fit(lambda stranger: stranger.leaving))


def _without(device: Device, whom: Callable[[Stranger], bool]) -> Device:
    return replace(device, stranger=None) if device.stranger is not None and whom(device.stranger) else device


def _look(directory: Path, devices: Sequence[Device], *, strangers: Strangers) -> dict[str, Device]:
    """*devices* as they are now."""
    uuids = dict.fromkeys(uuid for device in devices for uuid in (device.uuid, device.parent) if uuid is not None)
    occupied = {uuid: occupancy(directory, uuid) for uuid in uuids}
    return as_they_are(devices, occupied, strangers(occupied))


def _units(uuids: Sequence[str], waiter: Waiter, devices: Mapping[str, Device]) -> list[Unit]:
    return [Unit(uuid, devices[uuid].parent, waiter.want.slots) for uuid in uuids]


def _hint(waiter: Waiter) -> dict[str, object]:
    """What others read of a lease (fields of `Holder`)."""
    now = time.time()
    until = None if waiter.lasts_s is None else now + waiter.lasts_s
    return {"run": waiter.run, "user": waiter.user, "pid": waiter.pid, "since": now, "until": until}


def _free_place(directory: Path, waiter: Waiter) -> Place:
    for number in count():
        path = lock_path(directory, f"place{number}")
        if not is_held(path) and (fd := try_lock(path)) is not None:
            write_hint(fd, to_document(waiter))
            return Place(waiter, fd)
    raise AssertionError("count has no end")


def _places(directory: Path) -> list[Path]:
    return sorted(directory.glob("place*.lock"))
