"""Which devices a run gets of those that are free."""

from __future__ import annotations

import pytest
from boxes import GIB, box, connected, free, held, in_parts, letters, switches

from launcher.schedule.device_request import DeviceRequest
from launcher.schedule.foreign_use import ForeignUse
from launcher.schedule.placement import choose
from runtime.gpu.topology import Topology

APART = Topology()


def want(offers: str, count: int = 1, **more: object) -> DeviceRequest:
    return DeviceRequest(tuple(offers), count, **more)  # type: ignore[arg-type]


def test_a_free_one_is_taken_and_a_held_one_left() -> None:
    assert letters(choose(want("ab"), box(held("a"), free("b")), APART)) == "b"


def test_too_few_that_are_free_are_none_at_all() -> None:
    assert choose(want("ab", 2), box(held("a"), free("b")), APART) is None


def test_nothing_but_what_fulfils_the_wishes_is_taken() -> None:
    assert choose(want("a"), box(held("a"), free("b")), APART) is None


def test_a_gpu_with_a_stranger_on_it_is_left_alone() -> None:
    there = box(free("a", foreign=ForeignUse("pid 4411 `python` of bob")), free("b"))
    assert letters(choose(want("ab"), there, APART)) == "b"


def test_the_longest_idle_comes_first() -> None:
    assert (
        letters(choose(want("abc"), box(free("a", last_used=3.0), free("b", last_used=1.0), free("c", last_used=2.0)), APART))
        == "b"
    )


@pytest.mark.parametrize(
    ("least_memory", "expected"),
    [pytest.param(False, "b", id="the largest"), pytest.param(True, "a", id="the smallest that will do")],
)
def test_memory_decides_among_models(least_memory: bool, expected: str) -> None:
    there = box(free("a", model="A100", memory_bytes=40 * GIB), free("b", memory_bytes=80 * GIB))
    assert letters(choose(want("ab", least_memory=least_memory), there, APART)) == expected


@pytest.mark.parametrize(
    ("busy", "count", "expected"),
    [
        pytest.param("", 2, "ab", id="a pair of one island"),
        pytest.param("a", 2, "cd", id="the pair that is whole"),
        pytest.param("ac", 2, "ef", id="past two broken pairs"),
        pytest.param("", 4, "abcd", id="two whole pairs"),
        pytest.param("a", 1, "b", id="the single one, and no pair is torn"),
        pytest.param("ace", 2, "bd", id="across, where no pair is left"),
    ],
)
def test_the_best_connected_group(busy: str, count: int, expected: str) -> None:
    there = box(*(held(uuid) if uuid in busy else free(uuid) for uuid in "abcdef"))
    assert letters(choose(want("abcdef", count), there, connected("ab", "cd", "ef"))) == expected


def test_one_pcie_switch_before_the_host_bridge() -> None:
    there = box(free("a"), held("b"), free("c"), free("d"))
    assert letters(choose(want("abcd", 2), there, switches("ab", "cd"))) == "cd"


def test_nvlink_wished_and_only_pcie_free_is_nothing() -> None:
    there = box(free("a"), held("b"), free("c"), held("d"))
    assert choose(want("abcd", 2, linked=True), there, connected("ab", "cd")) is None
    assert letters(choose(want("abcd", 2), there, connected("ab", "cd"))) == "ac"


def test_nvlink_through_a_third_connects() -> None:
    """Eight V100s in a DGX-1 are a cube with diagonals: not each has a link to each."""
    chain = Topology({**connected("ab").links, **connected("bc").links})
    there = box(*map(free, "abc"))
    assert letters(choose(want("abc", 3, linked=True), there, chain)) == "abc"
    assert choose(want("abc", 3, linked=True), box(free("a"), held("b"), free("c")), chain) is None


def test_one_numa_node_before_two() -> None:
    there = box(free("a", numa_node=0), free("b", numa_node=1), free("c", numa_node=1))
    assert letters(choose(want("abc", 2), there, APART)) == "bc"


def test_a_group_is_of_one_vendor() -> None:
    there = box(free("a", vendor="amd"), free("b"), free("c", vendor="amd"))
    assert letters(choose(want("abc", 2), there, APART)) == "ac"
    assert choose(want("abc", 3), there, APART) is None


def test_a_group_is_of_one_model_where_it_can_be() -> None:
    there = box(free("a", model="A100"), free("b"), free("c", model="A100"))
    assert letters(choose(want("abc", 2), there, APART)) == "ac"
    assert letters(choose(want("abc", 3), there, APART)) == "abc"


def test_parts_fill_a_gpu_before_they_begin_another() -> None:
    there = box(free("a"), in_parts("b", 15), in_parts("c", 10))
    assert letters(choose(want("abc", slots=10), there, APART)) == "c"
    assert letters(choose(want("abc", slots=12), there, APART)) == "b"
    assert letters(choose(want("abc", slots=16), there, APART)) == "a"


def test_a_gpu_of_which_a_part_is_leased_is_no_whole_one() -> None:
    assert choose(want("a"), box(in_parts("a", 15)), APART) is None


def test_a_part_waits_where_too_little_is_left() -> None:
    assert choose(want("ab", slots=10), box(in_parts("a", 5), held("b")), APART) is None


def test_sixteen_gpus_are_grouped_too() -> None:
    names = "abcdefghijklmnop"
    there = box(*(held(name) if name in "a" else free(name) for name in names))
    assert letters(choose(want(names, 8), there, connected(names[:8], names[8:]))) == names[8:]
