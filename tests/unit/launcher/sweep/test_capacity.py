"""How many trials run side by side, and which of two sweeps comes first."""

from __future__ import annotations

import pytest

from launcher.sweep.capacity import Load, Need, Offer, Rival, comes_first, has_room
from launcher.sweep.policy import FailurePolicy

GIB = 1 << 30
MACHINE = Offer(cpus=8, memory_bytes=32 * GIB, gpus=4)
CORE = Need(cpus=1)


def side_by_side(need: Need, load: Load | None = None) -> int:
    running: list[Need] = []
    while has_room(need, running, load or Load(), MACHINE):
        running.append(need)
    return len(running)


@pytest.mark.parametrize(
    ("need", "expected"),
    [
        pytest.param(Need(1), 8, id="cpus"),
        pytest.param(Need(0.1), 80, id="shares of a core"),
        pytest.param(Need(0.5, 8 * GIB), 4, id="memory"),
        pytest.param(Need(8, 64 * GIB), 1, id="never less than one"),
    ],
)
def test_the_scarcest_thing_decides(need: Need, expected: int) -> None:
    assert expected == side_by_side(need)


def test_other_runs_and_other_sweeps_trials_are_counted() -> None:
    load = Load(runs=(Need(2),), rivals=(Rival(running=(CORE, CORE)),))
    assert 4 == side_by_side(CORE, load)


def test_one_trial_does_not_wait_for_a_run_that_may_last_for_days() -> None:
    assert has_room(CORE, [], Load(runs=(Need(8),)), MACHINE)
    assert not has_room(CORE, [CORE], Load(runs=(Need(8),)), MACHINE)


def test_one_trial_waits_for_trials_of_another_sweep() -> None:
    assert not has_room(CORE, [], Load(rivals=(Rival(running=(Need(8),)),)), MACHINE)


def first(rival: Rival, need: Need, mine: list[Need], *, served_at: float = 0) -> bool:
    return comes_first(rival, need, mine, Load(rivals=(rival,)), MACHINE, served_at=served_at)


def test_a_sweep_that_waits_and_has_less_comes_first() -> None:
    full = [CORE] * 7
    assert first(Rival(waits_for=CORE), CORE, full)
    assert not first(Rival(), CORE, full), "it wants nothing"
    assert not first(Rival(running=tuple(full), waits_for=CORE), CORE, []), "it has more"


def test_of_equal_sweeps_the_one_served_longest_ago_comes_first() -> None:
    half = [CORE] * 4
    rival = Rival(running=tuple(half), waits_for=CORE, served_at=10)
    assert first(rival, CORE, half, served_at=20)
    assert not first(rival, CORE, half, served_at=5)


def test_nobody_gives_way_where_there_is_enough_for_both_or_they_want_different_things() -> None:
    assert not first(Rival(waits_for=CORE), CORE, [CORE])
    assert not first(Rival(waits_for=Need(memory_bytes=40 * GIB)), CORE, [CORE])


def test_two_sweeps_come_to_equal_shares() -> None:
    """One has the whole machine when the other begins; trials end one after the other, and both want more."""
    has, served = {"a": [CORE] * 8, "b": []}, {"a": 1.0, "b": 2.0}
    for turn in range(8):
        has["a"].pop()
        for mine, other in (("a", "b"), ("b", "a")):  # the one whose trial ended looks first
            rival = Rival(tuple(has[other]), CORE, served[other])
            load = Load(rivals=(rival,))
            if has_room(CORE, has[mine], load, MACHINE) and not comes_first(
                rival, CORE, has[mine], load, MACHINE, served_at=served[mine]
            ):
                has[mine].append(CORE)
                served[mine] = 3.0 + turn
        if len(has["a"]) == len(has["b"]):
            break
    assert (4, 4) == (len(has["a"]), len(has["b"]))


@pytest.mark.parametrize(
    ("policy", "failures", "expected"),
    [
        pytest.param(FailurePolicy(), 100, False, id="continue"),
        pytest.param(FailurePolicy(stop_at_first=True), 1, True, id="stop"),
        pytest.param(FailurePolicy(max_failures=3), 2, False, id="below max_failures"),
        pytest.param(FailurePolicy(max_failures=3), 3, True, id="at max_failures"),
    ],
)
def test_when_failures_end_a_sweep(policy: FailurePolicy, failures: int, expected: bool) -> None:
    assert expected == policy.ends_after(failures)
