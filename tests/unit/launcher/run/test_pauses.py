"""How long a run has stood still, by its journal, and what a record says of a paused one."""

from __future__ import annotations

from pathlib import Path

import pytest

from launcher.journal import journal
from launcher.journal.journal import Event
from launcher.run.pauses import is_paused, paused_s
from launcher.tracking.record.run_record import fold
from runtime.state_dir import RunDir


def events(*named: tuple[str, float]) -> list[Event]:
    return [Event(name, at, {}) for name, at in named]


@pytest.mark.parametrize(
    ("named", "expected", "paused"),
    [
        pytest.param([("started", 0)], 0, False, id="never"),
        pytest.param([("started", 0), ("paused", 10), ("unpaused", 15)], 5, False, id="once"),
        pytest.param([("started", 0), ("paused", 10)], 90, True, id="still"),
        pytest.param([("started", 0), ("paused", 10), ("paused", 20), ("unpaused", 30)], 20, False, id="said twice"),
        pytest.param([("started", 0), ("unpaused", 30)], 0, False, id="an end without a beginning"),
        pytest.param([("started", 0), ("paused", 1), ("unpaused", 2), ("paused", 3), ("unpaused", 5)], 3, False, id="twice"),
        pytest.param([("started", 0), ("paused", 10), ("attempt", 20), ("started", 30)], 0, False, id="in an attempt before"),
    ],
)
def test_pauses_add_up(named: list[tuple[str, float]], expected: float, paused: bool) -> None:
    found = events(*named)
    assert (expected, paused) == (paused_s(found, now=100), is_paused(found))


def test_the_record_of_a_paused_run_says_so_until_it_goes_on(tmp_path: Path) -> None:
    run_dir = RunDir(tmp_path)
    expected = {
        "created": "created",
        "started": "started",
        "first_output": "first_output",
        "paused": "paused",
        "unpaused": "first_output",
    }
    for event, phase in expected.items():
        journal.append(run_dir.journal, event)
        record = fold(run_dir)
        assert record is not None
        assert phase == record.phase
    journal.append(run_dir.journal, "paused")
    journal.append(run_dir.journal, "stopping", reason="stopped")
    record = fold(run_dir)
    assert record is not None
    assert record.phase == "stopping"
