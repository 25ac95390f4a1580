"""How near GPUs are to each other, as values: what a group of them pays when they talk."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum


class LinkKind(IntEnum):
    """The slowest part of the way between two GPUs; a greater one is faster. Words as in `nvidia-smi topo -m`."""

    UNKNOWN = 0
    SYSTEM = 1
    """Across NUMA nodes (`SYS`)."""
    NODE = 2
    """Across the host bridges of one NUMA node (`NODE`)."""
    HOST_BRIDGE = 3
    """Through one PCIe host bridge (`PHB`)."""
    SEVERAL_SWITCHES = 4
    """Through several PCIe switches (`PXB`)."""
    ONE_SWITCH = 5
    """Through one PCIe switch (`PIX`)."""
    SAME_BOARD = 6
    NVLINK = 7
    """NVLink, or AMD's xGMI: past PCIe altogether."""
    SAME_GPU = 8


_WORDS = {
    LinkKind.UNKNOWN: "?",
    LinkKind.SYSTEM: "SYS",
    LinkKind.NODE: "NODE",
    LinkKind.HOST_BRIDGE: "PHB",
    LinkKind.SEVERAL_SWITCHES: "PXB",
    LinkKind.ONE_SWITCH: "PIX",
    LinkKind.SAME_BOARD: "PSB",
    LinkKind.SAME_GPU: "X",
}


@dataclass(frozen=True, slots=True, order=True)
class Link:
    """One way between two GPUs. Compares by speed: `Link(NVLINK, 18) > Link(NVLINK, 4) > Link(ONE_SWITCH)`."""

    kind: LinkKind
    lanes: int = 0
    """NVLinks between the two; 0 for any other kind."""

    @property
    def word(self) -> str:
        """`NV18`, `PIX`, …: as in `nvidia-smi topo -m`."""
        return f"NV{self.lanes}" if self.kind is LinkKind.NVLINK else _WORDS[self.kind]


@dataclass(frozen=True, slots=True)
class Topology:
    """The links between all GPUs of this machine."""

    links: Mapping[frozenset[str], Link] = field(default_factory=dict)
    """Two UUIDs → their link."""

    def link(self, uuid_a: str, uuid_b: str) -> Link:
        """The link between two GPUs; UNKNOWN for one that is not here or would not say."""
        if uuid_a == uuid_b:
            return Link(LinkKind.SAME_GPU)
        return self.links.get(frozenset((uuid_a, uuid_b)), Link(LinkKind.UNKNOWN))
