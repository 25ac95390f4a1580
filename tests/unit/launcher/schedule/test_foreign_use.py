"""Who counts as a stranger on a GPU."""

from __future__ import annotations

import pytest

from launcher.schedule.foreign_use import ForeignUse, ProcessOwner, find_foreign_use
from runtime.gpu.gpu import Gpu, GpuProcess, MigInstance
from runtime.gpu.leases.lease import Holder, Occupancy

ALICES_RUN = ProcessOwner("alice", "python3", run="a1b2c3")
BOB = ProcessOwner("bob", "python")
PROCESSES = {1: ALICES_RUN, 2: BOB}


def on(*processes: GpuProcess, **facts: object) -> Gpu:
    return Gpu(0, "GPU-a", processes=processes, **facts)  # type: ignore[arg-type]


def found(gpu: Gpu, *holders: str) -> dict[str, ForeignUse]:
    return find_foreign_use([gpu], {"GPU-a": Occupancy(tuple(Holder(run=run) for run in holders))}, PROCESSES.get)


def test_nobody_is_on_an_idle_gpu() -> None:
    assert found(on(used_bytes=400 << 20)) == {}


def test_a_process_of_the_run_that_holds_it_is_none() -> None:
    assert found(on(GpuProcess(1)), "a1b2c3") == {}


def test_a_process_beside_the_run_that_holds_it_is_one() -> None:
    stranger = found(on(GpuProcess(1), GpuProcess(2)), "a1b2c3")["GPU-a"]
    assert stranger == ForeignUse("pid 2 `python` of bob, outside launch", leaving=False)


@pytest.mark.parametrize(
    ("gpu", "words"),
    [
        pytest.param(on(GpuProcess(1)), "pid 1 `python3` of run a1b2c3, which has ended", id="of a run that holds nothing"),
        pytest.param(on(GpuProcess(3)), "pid 3, which has ended and whose memory is being freed", id="that has ended"),
        pytest.param(on(used_bytes=2 << 30), "2.0 GiB of a process that is not to be seen here", id="not to be seen"),
    ],
)
def test_what_may_be_gone_in_a_moment(gpu: Gpu, words: str) -> None:
    assert found(gpu) == {"GPU-a": ForeignUse(words, leaving=True)}


def test_one_that_stays_makes_all_stay() -> None:
    assert not found(on(GpuProcess(3), GpuProcess(2)))["GPU-a"].leaving


def test_who_only_draws_is_none_and_explains_its_memory() -> None:
    assert found(on(GpuProcess(2, kind="graphics"), used_bytes=2 << 30)) == {}


def test_on_a_slice_it_disturbs_that_slice_only() -> None:
    sliced = on(GpuProcess(2, mig="MIG-1"), mig_enabled=True, mig=(MigInstance("MIG-1", 1, 0), MigInstance("MIG-2", 2, 0)))
    assert found(sliced).keys() == {"MIG-1"}
