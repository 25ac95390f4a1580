"""Which devices a run gets of those that are free: pure. Taking them is `runtime.gpu.leases.lease`, waiting for them `line.py`.

    one            the smallest that has the memory asked for, else the largest; then what leaves others their fast links
    several        one model, NVLink before PCIe, one NUMA node, then as for one
    a part of one  on a GPU that is shared already and has just enough left

and among equals the one that was idle longest, so that all of them wear alike and a damaged one is noticed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from launcher.schedule.device import Device
from launcher.schedule.device_request import Want
from launcher.schedule.groups import connection, cut, groups, is_linked
from runtime.gpu.leases.lease import SLOTS
from runtime.gpu.topology import Topology


def choose(want: Want, devices: Mapping[str, Device], topology: Topology) -> tuple[str, ...] | None:
    """UUIDs for *want* that are free now; None when it has to wait."""
    offered = [devices[uuid] for uuid in want.offers if uuid in devices]
    free = [device for device in offered if device.is_free(want.slots)]
    if want.slots < SLOTS:
        chosen = min(free, key=lambda device: _fit_of_part(device, want), default=None)
        return None if chosen is None else (chosen.uuid,)
    if len(free) < want.count:
        return None
    possible = (group for group in groups(free, want.count, topology) if not want.linked or is_linked(group, topology))
    best = min(possible, key=lambda group: _fit(group, free, want, topology), default=None)
    return None if best is None else tuple(sorted(device.uuid for device in best))


def _fit(group: Sequence[Device], free: Sequence[Device], want: Want, topology: Topology) -> tuple[Any, ...]:
    slowest, together = connection(group, topology)
    nodes = {device.numa_node for device in group if device.numa_node is not None}
    return (
        len({device.model for device in group}),
        -slowest,
        -together,
        len(nodes),
        _memory(group, want),
        cut(group, free, topology),
        sorted(device.last_used for device in group),
        sorted(device.uuid for device in group),
    )


def _fit_of_part(device: Device, want: Want) -> tuple[Any, ...]:
    return (device.free_slots, _memory((device,), want), device.last_used, device.uuid)


def _memory(group: Sequence[Device], want: Want) -> int:
    total = sum(device.memory_bytes for device in group)
    return total if want.least_memory else -total
