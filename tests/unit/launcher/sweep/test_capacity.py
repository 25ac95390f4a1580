"""How many trials run side by side."""

from __future__ import annotations

import pytest

from launcher.sweep.capacity import Need, Offer, fits
from launcher.sweep.policy import FailurePolicy

GIB = 1 << 30
MACHINE = Offer(cpus=8, memory_bytes=32 * GIB, gpus=4)


def side_by_side(need: Need, parallel: int | None) -> int:
    running: list[Need] = []
    while fits(need, running, MACHINE, parallel=parallel):
        running.append(need)
    return len(running)


@pytest.mark.parametrize(
    ("need", "parallel", "expected"),
    [
        pytest.param(Need(1, None, 0), None, 8, id="cpus"),
        pytest.param(Need(0.1, None, 0), None, 80, id="shares of a core"),
        pytest.param(Need(0.5, 8 * GIB, 0), None, 4, id="memory"),
        pytest.param(Need(1, None, 2), None, 2, id="gpus"),
        pytest.param(Need(0.1, None, 0.2), None, 20, id="shares of a gpu"),
        pytest.param(Need(1, None, 0), 3, 3, id="sweep.parallel"),
        pytest.param(Need(8, 64 * GIB, 0), None, 1, id="never less than one"),
    ],
)
def test_the_scarcest_thing_decides(need: Need, parallel: int | None, expected: int) -> None:
    assert expected == side_by_side(need, parallel)


def test_a_trial_without_gpus_fits_beside_those_that_have_them_all() -> None:
    assert fits(Need(1, None, 0), [Need(1, None, 4)], MACHINE, parallel=None)
    assert not fits(Need(1, None, 1), [Need(1, None, 4)], MACHINE, parallel=None)


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
