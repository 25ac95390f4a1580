"""Which devices a run gets of those that are free: pure. Taking them is `runtime.gpu.leases.lease`, waiting for them `queue.py`.

    one            the smallest that has the memory asked for, else the largest; then what leaves others their fast links
    several        one model, NVLink before PCIe, one NUMA node, then as for one
    a part of one  on a GPU that is shared already and has just enough left

and among equals the one that was idle longest, so that all of them wear alike and a damaged one is noticed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations
from math import comb
from typing import Any

from launcher.schedule.device import Device
from launcher.schedule.device_request import DeviceRequest
from runtime.gpu.leases.lease import SLOTS
from runtime.gpu.topology import Link, LinkKind, Topology

_MOST_COMBINATIONS = 5000
"""C(8, 4) is 70. Beyond, on machines with sixteen GPUs, groups are grown around each GPU instead."""


def choose(request: DeviceRequest, devices: Mapping[str, Device], topology: Topology) -> tuple[str, ...] | None:
    """UUIDs for *request* that are free now; None when it has to wait."""
    offered = [devices[uuid] for uuid in request.offers if uuid in devices]
    free = [device for device in offered if device.is_free(request.slots)]
    if request.slots < SLOTS:
        chosen = min(free, key=lambda device: _fit_of_part(device, request), default=None)
        return None if chosen is None else (chosen.uuid,)
    if len(free) < request.count:
        return None
    possible = (group for group in groups(free, request.count, topology) if not request.linked or is_linked(group, topology))
    best = min(possible, key=lambda group: _fit(group, free, request, topology), default=None)
    return None if best is None else tuple(sorted(device.uuid for device in best))


def _fit(group: Sequence[Device], free: Sequence[Device], request: DeviceRequest, topology: Topology) -> tuple[Any, ...]:
    slowest, together = _connection(group, topology)
    nodes = {device.numa_node for device in group if device.numa_node is not None}
    return (
        len({device.model for device in group}),
        -slowest,
        -together,
        len(nodes),
        _memory(group, request),
        _cut(group, free, topology),
        sorted(device.last_used for device in group),
        sorted(device.uuid for device in group),
    )


def _fit_of_part(device: Device, request: DeviceRequest) -> tuple[Any, ...]:
    return (device.free_slots, _memory((device,), request), device.last_used, device.uuid)


def _memory(group: Sequence[Device], request: DeviceRequest) -> int:
    total = sum(device.memory_bytes for device in group)
    return total if request.least_memory else -total


def groups(devices: Sequence[Device], size: int, topology: Topology) -> Iterator[tuple[Device, ...]]:
    """Every group of *size* of *devices*, of one vendor each."""
    for vendor in dict.fromkeys(device.vendor for device in devices):
        members = [device for device in devices if device.vendor == vendor]
        if comb(len(members), size) <= _MOST_COMBINATIONS:
            yield from combinations(members, size)
        else:
            for seed in members:
                yield _grown(seed, members, size, topology)


def _grown(seed: Device, members: Sequence[Device], size: int, topology: Topology) -> tuple[Device, ...]:
    """The nearest ones to *seed*, one after the other."""
    group, others = [seed], [device for device in members if device is not seed]
    while len(group) < size:
        nearest = max(others, key=lambda other: sum(_speed(topology.link(other.uuid, one.uuid)) for one in group))
        group.append(nearest)
        others.remove(nearest)
    return tuple(group)


def _connection(group: Sequence[Device], topology: Topology) -> tuple[float, float]:
    """How fast members talk: the slowest way between two, which a ring or tree waits for, then all ways together."""
    speeds = [_speed(topology.link(a.uuid, b.uuid)) for a, b in combinations(group, 2)]
    return (min(speeds, default=0.0), sum(speeds))


def _cut(group: Sequence[Device], free: Sequence[Device], topology: Topology) -> float:
    """What taking *group* leaves disconnected: its fast ways to devices that stay free."""
    inside = {device.uuid for device in group}
    staying = [device for device in free if device.uuid not in inside]
    return sum(_speed(topology.link(a.uuid, b.uuid)) for a in group for b in staying)


def is_linked(group: Sequence[Device], topology: Topology) -> bool:
    """Whether NVLink leads from each member to each other, be it through a third."""
    reached, waiting = {group[0].uuid}, [group[0]]
    while waiting:
        here = waiting.pop()
        for other in group:
            if other.uuid not in reached and topology.link(here.uuid, other.uuid).kind is LinkKind.NVLINK:
                reached.add(other.uuid)
                waiting.append(other)
    return len(reached) == len(group)


def _speed(link: Link) -> float:
    """A number that grows with `Link`'s own order; the lanes of NVLink count within their kind."""
    return int(link.kind) + link.lanes / 100
