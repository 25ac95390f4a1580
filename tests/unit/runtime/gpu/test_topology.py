"""How the GPUs of a box are connected, as the real nvidia-ml-py and /sys tell."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from gpu_box import GpuBox

from runtime.gpu.inventory import read_gpus
from runtime.gpu.topology import Link, LinkKind, Topology, read_topology

Make = Callable[..., GpuBox]


def words(box: GpuBox) -> list[list[str]]:
    topology = read_topology(read_gpus())
    return [[topology.link(a, b).word for b in box.uuids] for a in box.uuids]


def test_switches_connect_all_with_all(gpu_box: Make) -> None:
    assert [["X", "NV18", "NV18"], ["NV18", "X", "NV18"], ["NV18", "NV18", "X"]] == words(gpu_box(gpus=3))


def test_bridges_connect_pairs_and_pcie_the_rest(gpu_box: Make) -> None:
    box = gpu_box(gpus=8, topology="pairs")
    first = words(box)[0]
    assert ["X", "NV4", "NODE", "NODE", "SYS", "SYS", "SYS", "SYS"] == first


def test_links_that_are_down_do_not_count(gpu_box: Make) -> None:
    box = gpu_box(gpus=2)
    box.state["gpus"][0]["nvlink"]["down"] = {"3": 1, "4": 1}
    box.save()
    assert "NV16" == words(box)[0][1]


def test_cards_without_nvlink_share_a_pcie_switch(gpu_box: Make) -> None:
    assert "PIX" == words(gpu_box(gpus=4, model="NVIDIA GeForce RTX 4090"))[0][1]


def test_a_gpu_in_trouble_is_not_asked(gpu_box: Make) -> None:
    box = gpu_box(gpus=3)
    box.lose(1)
    assert ["?", "X", "?"] == words(box)[1]
    assert "NV18" == words(box)[0][2]


def test_amds_are_connected_by_xgmi(gpu_box: Make) -> None:
    assert [["X", "XGMI"], ["XGMI", "X"]] == words(gpu_box(installed=False, amd=2))


def test_more_lanes_are_better_and_any_nvlink_is_better_than_pcie() -> None:
    links = [Link(LinkKind.NVLINK, 18), Link(LinkKind.NVLINK, 4), Link(LinkKind.ONE_SWITCH), Link(LinkKind.SYSTEM)]
    assert links == sorted(links, reverse=True)
    assert Link(LinkKind.UNKNOWN) == Topology().link("GPU-1", "GPU-2")


def test_a_reading_that_hangs_leaves_the_links_unknown(gpu_box: Make) -> None:
    box = gpu_box(gpus=2)
    gpus = read_gpus()
    box.delay("nvmlDeviceGetTopologyCommonAncestor", 600_000)
    assert LinkKind.UNKNOWN is read_topology(gpus, timeout_s=0.3).link(*box.uuids).kind


@pytest.mark.parametrize("count", [0, 1])
def test_fewer_than_two_have_no_links(gpu_box: Make, count: int) -> None:
    gpu_box(gpus=count)
    assert {} == read_topology(read_gpus()).links
