"""The queue of those who wait for GPUs, on disk: no daemon, all users of the machine, and whoever dies is out of it.

Each queued run holds an flock on a file of the lease directory, its place, in which stands what it requests. Whoever looks reads
the places that are held; so a run that was killed, at whatever moment, is not in the queue any more. Files are used again and
never deleted. All look and take under one mutex (`runtime.gpu.leases.lease.placement_lock`), and all come to the same conclusion
(`scheduling.py`): who is next takes, the others go on waiting.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import count
from pathlib import Path

from launcher.schedule.device import Device, with_occupancy
from launcher.schedule.device_request import DeviceRequest, QueuedRun, from_document, to_document
from launcher.schedule.foreign_use import ForeignUse
from launcher.schedule.scheduling import QueueDecision, decide
from runtime.gpu.leases.lease import GpuLease, Occupancy, Unit, occupancy, placement_lock, take
from runtime.gpu.leases.lock_files import is_held, lock_path, read_hint, try_lock, write_hint
from runtime.gpu.topology import Topology
from runtime.light_dataclasses import dataclass, replace

FindForeignUse = Callable[[Mapping[str, Occupancy]], Mapping[str, ForeignUse]]
"""How devices are leased → who uses which of them outside launch (`foreign_use.py`)."""


@dataclass(frozen=True, slots=True)
class QueuePlace:
    """A queued run's place in the queue."""

    entry: QueuedRun
    fd: int


@dataclass(frozen=True, slots=True)
class PlacementAttempt:
    """What came of trying to be placed."""

    decision: QueueDecision
    devices: Mapping[str, Device]
    """As they were at that moment."""
    lease: GpuLease | None
    only_foreign: bool = False
    """It is its turn but for those who use devices outside launch: no lock will tell when they end."""
    only_leaving: bool = False
    """It is its turn but for what ended runs have left on devices, which goes within seconds."""


@contextmanager
def queued(directory: Path, entry: QueuedRun) -> Iterator[QueuePlace]:
    """Stand in the queue for the body, behind all who have the same priority."""
    with placement_lock(directory):
        number = 1 + max((other.number for other in read_queue(directory)), default=0)
        place = _free_place(directory, replace(entry, number=number))
    try:
        yield place
    finally:
        os.close(place.fd)


def update_request(directory: Path, place: QueuePlace, request: DeviceRequest) -> QueuePlace:
    """The same place for another *request*: the others judge by what stands there."""
    if request == place.entry.request:
        return place
    entry = replace(place.entry, request=request)
    with placement_lock(directory):
        write_hint(place.fd, to_document(entry))
    return QueuePlace(entry, place.fd)


def read_queue(directory: Path) -> list[QueuedRun]:
    """All who stand in the queue, next first. Exact while the caller is `placement_lock`."""
    found = (from_document(read_hint(path)) for path in _places(directory) if is_held(path))
    return sorted((entry for entry in found if entry is not None), key=lambda entry: entry.order)


def try_to_place(
    directory: Path,
    entry: QueuedRun,
    devices: Sequence[Device],
    topology: Topology,
    *,
    foreign_use: FindForeignUse,
) -> PlacementAttempt:
    """May *entry* start now? Then it holds its lease; never waits. One that stands in no queue comes after all who do."""
    with placement_lock(directory):
        now_there = read_devices(directory, devices, foreign_use=foreign_use)
        served = {(holder.run, holder.pid) for device in now_there.values() for holder in device.holders}
        # Who has its lease stands in the queue until it has looked whether the devices are clean.
        others = [one for one in read_queue(directory) if one != entry and (one.run, one.pid) not in served]
        if not entry.number:
            entry = replace(entry, number=1 + max((other.number for other in others), default=0))
        found = decide(entry, others, now_there, topology, now=time.time())
        lease = None if found.uuids is None else take(directory, _units(found.uuids, entry, now_there), _hint(entry))

    def would_fit(without: Callable[[ForeignUse], bool]) -> bool:
        there = {uuid: _without(device, without) for uuid, device in now_there.items()}
        return lease is None and decide(entry, others, there, topology, now=time.time()).uuids is not None

    return PlacementAttempt(found, now_there, lease, would_fit(lambda _all: True), would_fit(lambda foreign: foreign.leaving))


def _without(device: Device, whom: Callable[[ForeignUse], bool]) -> Device:
    return replace(device, foreign=None) if device.foreign is not None and whom(device.foreign) else device


def read_devices(
    directory: Path, devices: Sequence[Device], *, foreign_use: FindForeignUse = lambda _occupied: {}
) -> dict[str, Device]:
    """*devices* as they are leased now, and used outside launch as *foreign_use* says. Exact while the caller has the
    `placement_lock`."""
    uuids = dict.fromkeys(uuid for device in devices for uuid in (device.uuid, device.parent) if uuid is not None)
    occupied = {uuid: occupancy(directory, uuid) for uuid in uuids}
    return with_occupancy(devices, occupied, foreign_use(occupied))


def _units(uuids: Sequence[str], entry: QueuedRun, devices: Mapping[str, Device]) -> list[Unit]:
    return [Unit(uuid, devices[uuid].parent, entry.request.slots) for uuid in uuids]


def _hint(entry: QueuedRun) -> dict[str, object]:
    """What others read of a lease (fields of `Holder`)."""
    now = time.time()
    until = None if entry.lasts_s is None else now + entry.lasts_s
    return {"run": entry.run, "user": entry.user, "pid": entry.pid, "since": now, "until": until}


def _free_place(directory: Path, entry: QueuedRun) -> QueuePlace:
    for number in count():
        path = lock_path(directory, f"place{number}")
        if not is_held(path) and (fd := try_lock(path)) is not None:
            write_hint(fd, to_document(entry))
            return QueuePlace(entry, fd)
    raise AssertionError("count has no end")


def _places(directory: Path) -> list[Path]:
    return sorted(directory.glob("place*.lock"))
