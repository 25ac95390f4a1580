"""How long a run has stood still, by its journal, and what a record says of a paused one."""

from __future__ import annotations

from pathlib import Path

import pytest
from journal_lines import state_after, write_event

from launcher.tracking.record.run_record import fold
from runtime.state_dir import RunDir

ENDED = ("attempt", 20, {"attempt": 1, "reason": "oom"})


@pytest.mark.parametrize(
    ("named", "expected", "paused"),
    [
        pytest.param([("started", 0)], 0, False, id="never"),
        pytest.param([("started", 0), ("paused", 10), ("unpaused", 15)], 5, False, id="once"),
        pytest.param([("started", 0), ("paused", 10)], 90, True, id="still"),
        pytest.param([("started", 0), ("paused", 10), ("paused", 20), ("unpaused", 30)], 20, False, id="said twice"),
        pytest.param([("started", 0), ("unpaused", 30)], 0, False, id="an end without a beginning"),
        pytest.param([("started", 0), ("paused", 1), ("unpaused", 2), ("paused", 3), ("unpaused", 5)], 3, False, id="twice"),
        pytest.param(
            [("started", 0), ("paused", 10), ("attempt", 20, {"attempt": 1, "reason": "oom"}), ("started", 30)],
            0,
            False,
            id="in an attempt before",
        ),
    ],
)
def test_pauses_add_up(tmp_path: Path, named: list[tuple[str, float]], expected: float, paused: bool) -> None:
    run = state_after(tmp_path, *named)
    assert (expected, paused) == (run.paused_s(100), run.is_paused)


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
        write_event(run_dir.journal, event)
        record = fold(run_dir)
        assert record is not None
        assert phase == record.phase
    write_event(run_dir.journal, "paused")
    write_event(run_dir.journal, "stopping", reason="stopped")
    record = fold(run_dir)
    assert record is not None
    assert record.phase == "stopping"
