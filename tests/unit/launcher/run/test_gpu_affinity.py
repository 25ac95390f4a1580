"""A run stays on the processors and the memory beside its GPUs."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from launcher.run.gpus import gpu_affinity as near_gpus_module
from launcher.run.gpus.gpu_affinity import near_cpus, near_gpus, near_nodes
from runtime.gpu.gpu import Gpu
from runtime.kernel.number_list import as_list, node_mask, number_list

TWO_SOCKETS = set(range(16))


def gpu(cpus: str | None, numa_node: int | None = None) -> Gpu:
    return Gpu(0, "GPU-a", cpus=cpus, numa_node=numa_node)


@pytest.mark.parametrize(
    ("gpus", "cpus", "expected"),
    [
        pytest.param([gpu("0-3,8-11")], 4, "0-3,8-11", id="those of its socket"),
        pytest.param([gpu("0-3"), gpu("4-5")], 4, "0-5", id="of two sockets, those of both"),
        pytest.param([gpu("0-3")], 6, "", id="too few for a run that asked for more"),
        pytest.param([gpu("0-31")], 4, "", id="all are near"),
        pytest.param([gpu("0-3"), gpu(None)], 4, "", id="one doesn't say"),
        pytest.param([gpu("64-95")], 4, "", id="none of them is ours"),
        pytest.param([gpu("nonsense")], 4, "", id="nonsense"),
    ],
)
def test_the_processors(gpus: list[Gpu], cpus: float, expected: str) -> None:
    assert as_list(near_cpus(gpus, TWO_SOCKETS, cpus=cpus)) == expected


def test_where_there_is_one_node_memory_needs_no_policy() -> None:
    with open("/sys/devices/system/node/online") as file:
        online = number_list(file.read())
    assert near_nodes([gpu(None, min(online))]) == (set() if len(online) == 1 else {min(online)})
    assert near_nodes([gpu(None, None)]) == set()
    assert near_nodes([gpu(None, -1)]) == set()


@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="there is one processor only")
def test_a_child_inherits_it_and_then_all_is_as_before() -> None:
    before = os.sched_getaffinity(0)
    one = min(before)
    with near_gpus([gpu(str(one), 999)], cpus=1) as done:
        pid = os.fork()
        if pid == 0:
            os._exit(0 if os.sched_getaffinity(0) == {one} else 1)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert done == {"cpus": str(one)}  # and no machine has a node 999
    assert os.sched_getaffinity(0) == before


def test_the_kernel_takes_the_memory_policy() -> None:
    pid = os.fork()
    if pid == 0:
        policy = near_gpus_module._prefer({0}) and "prefer" in Path("/proc/self/numa_maps").read_text()
        os._exit(0 if policy else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


@pytest.mark.parametrize("numbers", [set(), {0}, {0, 1, 2, 7}, {63}, {64}, {3, 130}])
def test_lists_and_masks(numbers: set[int]) -> None:
    assert number_list(as_list(numbers)) == numbers
    mask, highest = node_mask(numbers)
    assert {node for node in range(highest) if int.from_bytes(mask, "little") >> node & 1} == numbers
    assert len(mask) % 8 == 0
