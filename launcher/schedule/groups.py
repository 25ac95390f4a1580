"""Groups of GPUs: all that could be made, and how well the members of one are connected. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import combinations
from math import comb

from launcher.schedule.device import Device
from runtime.gpu.topology import Link, LinkKind, Topology

_MOST_COMBINATIONS = 5000
"""C(8, 4) is 70. Beyond, on machines with sixteen GPUs, groups are grown around each GPU instead."""


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


def connection(group: Sequence[Device], topology: Topology) -> tuple[float, float]:
    """How fast members talk: the slowest way between two, which a ring or tree waits for, then all ways together."""
    speeds = [_speed(topology.link(a.uuid, b.uuid)) for a, b in combinations(group, 2)]
    return (min(speeds, default=0.0), sum(speeds))


def cut(group: Sequence[Device], free: Sequence[Device], topology: Topology) -> float:
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
