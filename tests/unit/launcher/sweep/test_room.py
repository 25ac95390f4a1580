"""When a sweep starts its next trial."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from launcher.journal.status import Stage
from launcher.run.start.create_run import new_run_dir
from launcher.sweep.capacity import Need, Offer
from launcher.sweep.other_sweeps import OtherSweeps
from launcher.sweep.room import MOST_UNSENT, Room
from launcher.sweep.running import RunningTrials
from launcher.sweep.trial import Trial
from runtime.state_dir import StateDir

GIB = 1 << 30
MACHINE = Offer(cpus=8, memory_bytes=32 * GIB, gpus=8)
ENDED, COMING, IN_LINE, HOLDING = Stage.ENDED, Stage.STARTING, Stage.QUEUED, Stage.HOLDING


class Gpus:
    """So many are free, each for one trial."""

    def __init__(self, free: int) -> None:
        self.free = free

    def are_enough(self, _plan: object, coming: list[object]) -> bool:
        return len(coming) < self.free


Admits = Callable[..., bool]


@pytest.fixture
def admits(tmp_path: Path) -> Admits:
    """Whether one more of *need* is started beside trials in these *stages*."""
    state = StateDir(tmp_path).ensure()
    parent = new_run_dir(state)

    def asked(
        stages: list[Stage], need: Need, *, free_gpus: int = 0, parallel: int | None = None, ends_matter: bool = False
    ) -> bool:
        room = Room(MACHINE, OtherSweeps(state, parent), parallel=parallel, ends_matter=ends_matter)
        room._gpus = cast(Any, Gpus(free_gpus))
        trial = cast(Trial, SimpleNamespace(need=need, plan=None))
        running = [SimpleNamespace(trial=trial, staged=SimpleNamespace(stage=one, look=lambda one=one: one)) for one in stages]
        return room.admits(trial, cast(RunningTrials, running))

    return asked


def test_a_trial_whose_program_has_ended_leaves_room_while_its_record_is_sent(admits: Admits) -> None:
    assert admits([ENDED, HOLDING], Need(1), parallel=2)
    assert not admits([HOLDING, HOLDING], Need(1), parallel=2)
    assert not admits([ENDED] * MOST_UNSENT, Need(1))


def test_where_ends_matter_it_counts_until_it_is_told(admits: Admits) -> None:
    assert not admits([ENDED, HOLDING], Need(1), parallel=2, ends_matter=True)


def test_gpus_that_are_free_are_used_at_once(admits: Admits) -> None:
    assert admits([COMING, COMING], Need(0.1, gpus=1), free_gpus=3)


def test_a_few_stand_ready_in_the_line_and_no_more(admits: Admits) -> None:
    gpu = Need(0.1, gpus=1)
    assert admits([HOLDING] * 8, gpu)
    assert admits([HOLDING] * 8 + [IN_LINE], gpu)
    assert not admits([HOLDING] * 8 + [IN_LINE, IN_LINE], gpu)
    assert not admits([HOLDING] * 6 + [COMING, COMING], gpu)


def test_who_stands_ready_takes_the_cores_of_one_that_will_have_ended(admits: Admits) -> None:
    assert admits([HOLDING] * 8, Need(1, gpus=1))
    assert not admits([HOLDING] * 9, Need(1, gpus=1))
