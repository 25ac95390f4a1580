"""Devices and connections for tests of who gets what."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import combinations

from launcher.schedule.device import Device
from runtime.gpu.leases.lease import SLOTS, Holder
from runtime.gpu.topology import Link, LinkKind, Topology

GIB = 1 << 30


def free(uuid: str, **facts: object) -> Device:
    return Device(**{"uuid": uuid, "model": "H100", "memory_bytes": 80 * GIB, **facts})  # type: ignore[arg-type]


def held(uuid: str, *, until: float | None = None, run: str = "other") -> Device:
    return free(uuid, free_slots=0, holders=(Holder(run=run, until=until),))


def in_parts(uuid: str, free_slots: int) -> Device:
    return free(uuid, free_slots=free_slots, in_parts=True, holders=(Holder(run="part", slots=SLOTS - free_slots),))


def box(*devices: Device) -> dict[str, Device]:
    return {device.uuid: device for device in devices}


def connected(*islands: str, across: LinkKind = LinkKind.SYSTEM, lanes: int = 4) -> Topology:
    """NVLink within each of *islands* (one letter a GPU), *across* between them."""
    inside = {frozenset(pair): Link(LinkKind.NVLINK, lanes) for island in islands for pair in combinations(island, 2)}
    every = {frozenset(pair): Link(across) for pair in combinations("".join(islands), 2)}
    return Topology({**every, **inside})


def switches(*groups: str) -> Topology:
    """PCIe only: one switch within each of *groups*, the host bridge between them."""
    near = {frozenset(pair): Link(LinkKind.ONE_SWITCH) for group in groups for pair in combinations(group, 2)}
    far = {frozenset(pair): Link(LinkKind.HOST_BRIDGE) for pair in combinations("".join(groups), 2)}
    return Topology({**far, **near})


def letters(uuids: Iterable[str] | None) -> str | None:
    return None if uuids is None else "".join(uuids)
