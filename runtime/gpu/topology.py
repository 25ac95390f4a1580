"""How near GPUs are to each other: what a group of them pays when they talk.

Of NVIDIA's, NVML tells the NVLinks that are up and the way through PCIe; of AMD's, the kernel's HSA topology tells xGMI.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from enum import IntEnum
from itertools import combinations
from typing import Any

from runtime.gpu import amd
from runtime.gpu.gpu import Gpu
from runtime.gpu.roots import Roots
from runtime.gpu.side_process import Tell, ask, listen
from runtime.light_dataclasses import dataclass, field


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
    """NVLinks between the two; 0 for any other kind, and for xGMI."""

    @property
    def word(self) -> str:
        """`NV18`, `PIX`, …: as in `nvidia-smi topo -m`; `XGMI`."""
        if self.kind is LinkKind.NVLINK:
            return f"NV{self.lanes}" if self.lanes else "XGMI"
        return _WORDS[self.kind]


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


_PATIENCE_S = 20.0
_ANCESTORS = {
    0: LinkKind.SAME_BOARD,
    10: LinkKind.ONE_SWITCH,
    20: LinkKind.SEVERAL_SWITCHES,
    30: LinkKind.HOST_BRIDGE,
    40: LinkKind.NODE,
    50: LinkKind.SYSTEM,
}
"""nvmlGpuTopologyLevel_t"""
_MOST_NVLINKS = 18
_SWITCH = "switch"
_REMOTE_IS_SWITCH = 2
_XGMI = "11"


def read_topology(gpus: Sequence[Gpu], *, timeout_s: float = _PATIENCE_S, roots: Roots | None = None) -> Topology:
    """The links between *gpus* (`inventory.read_gpus`). A GPU in trouble isn't asked; its links are UNKNOWN."""
    roots = roots or Roots.of_this_machine()
    well = [gpu for gpu in gpus if gpu.trouble is None and gpu.uuid is not None]
    nvidia = [gpu.uuid for gpu in well if gpu.vendor == "nvidia" and gpu.uuid]
    links = dict(_nvidia_links(nvidia, timeout_s, roots)) if len(nvidia) > 1 else {}
    return Topology({**links, **dict(_amd_links([gpu for gpu in well if gpu.vendor == "amd"], roots))})


def _nvidia_links(uuids: Sequence[str], timeout_s: float, roots: Roots) -> Iterator[tuple[frozenset[str], Link]]:
    def question(tell: Tell) -> None:
        from runtime.gpu.nvidia import nvml

        with nvml.open_nvml(roots) as library:
            devices = {uuid: library.nvmlDeviceGetHandleByUUID(uuid) for uuid in uuids}
            nvlinks = {uuid: list(_nvlinks(library, device)) for uuid, device in devices.items()}
            addresses = {uuid: _address(library, device) for uuid, device in devices.items()}
            for a, b in combinations(uuids, 2):
                lanes = _lanes(nvlinks[a], addresses[b], nvlinks[b], addresses[a])
                tell({"pair": [a, b], "lanes": lanes, "ancestor": _ancestor(library, devices[a], devices[b])})

    asked = ask(question)
    listen([asked], patience_s=timeout_s)
    for told in asked.messages:
        kind = _ANCESTORS.get(told["ancestor"], LinkKind.UNKNOWN)
        yield frozenset(told["pair"]), Link(LinkKind.NVLINK, told["lanes"]) if told["lanes"] else Link(kind)


def _nvlinks(nvml: Any, device: Any) -> Iterator[str]:
    """Where each NVLink that is up ends: a PCI address, or `switch`."""
    for link in range(_MOST_NVLINKS):
        try:
            if not nvml.nvmlDeviceGetNvLinkState(device, link):
                continue
            is_switch = nvml.nvmlDeviceGetNvLinkRemoteDeviceType(device, link) == _REMOTE_IS_SWITCH
            yield _SWITCH if is_switch else _text(nvml.nvmlDeviceGetNvLinkRemotePciInfo(device, link).busId)
        except (nvml.NVMLError, AttributeError):  # it has fewer of them, or none
            return


def _lanes(of_a: Iterable[str], address_b: str | None, of_b: Iterable[str], address_a: str | None) -> int:
    """NVLinks from one to the other: straight ones, or as many as both have to the switches, which connect all with all."""
    straight = min(sum(end == address_b for end in of_a), sum(end == address_a for end in of_b))
    return straight or min(sum(end == _SWITCH for end in of_a), sum(end == _SWITCH for end in of_b))


def _address(nvml: Any, device: Any) -> str | None:
    try:
        return _text(nvml.nvmlDeviceGetPciInfo(device).busId)
    except nvml.NVMLError:
        return None


def _ancestor(nvml: Any, a: Any, b: Any) -> int | None:
    try:
        return int(nvml.nvmlDeviceGetTopologyCommonAncestor(a, b))
    except nvml.NVMLError:
        return None


def _text(value: bytes | str) -> str:
    return value.decode() if isinstance(value, bytes) else value


def _amd_links(gpus: Sequence[Gpu], roots: Roots) -> Iterator[tuple[frozenset[str], Link]]:
    nodes = amd.gpu_nodes(roots)
    for a, b in combinations(gpus, 2):
        if a.uuid not in nodes or b.uuid not in nodes:
            continue
        if _has_xgmi(nodes[a.uuid], nodes[b.uuid].id):
            link = Link(LinkKind.NVLINK)
        else:
            link = Link(LinkKind.NODE if a.numa_node == b.numa_node else LinkKind.SYSTEM)
        yield frozenset((a.uuid, b.uuid)), link


def _has_xgmi(node: amd.KfdNode, to: int) -> bool:
    links = (amd.read_properties(file) for file in node.directory.glob("io_links/*/properties"))
    return any(link.get("type") == _XGMI and link.get("node_to") == str(to) for link in links)
