"""What a notebook shows of a run."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from xml.etree import ElementTree

from launcher.journal.status import RunStatus
from launcher.library.notebook import card, live_card
from launcher.tracking.record.run_record import RunRecord
from runtime.state_dir import RunDir, StateDir


def record(state: StateDir, **known: Any) -> RunRecord:
    run_dir: RunDir = state.run("7f3a9c")
    return RunRecord(run_dir, "7f3a9c", created_at=datetime.now(UTC), **{"status": RunStatus.RUNNING, **known})


def test_a_card_has_state_reason_and_a_curve_for_each_metric(state: StateDir) -> None:
    ended = record(state, experiment="digits", status=RunStatus.FAILED, reason="oom", exit_code=137, duration_s=3.25)
    shown = card(ended, {"step": [1, 2, 3], "loss": [0.5, None, 0.25], "nothing": [float("nan"), None, None]})
    words = "".join(ElementTree.fromstring(shown.replace("&middot;", "-")).itertext())
    assert "digits 7f3a9c failed (oom) - 3.2 sloss 0.25" == words
    assert 1 == shown.count("<svg")
    assert 'points="3.0,3.0 177.0,41.0"' in shown


def test_a_card_of_a_run_that_has_not_begun_says_what_it_waits_for(state: StateDir) -> None:
    assert "waits for GPU 1 &amp; 2" in card(record(state, waits_for="waits for GPU 1 & 2", phase="queued"), {"step": []})


def test_what_a_program_named_is_no_markup(state: StateDir) -> None:
    named = record(state, experiment="<script>", message="<img src=x>", exit_code=1, mlflow_url='http://x/"><b>')
    shown = card(named, {"step": [1], "<i>": [1.0]})
    assert not [tag for tag in ("<script>", "<img", '"><b>http', "<i>") if tag in shown]


def test_a_value_that_stays_is_a_line_in_the_middle(state: StateDir) -> None:
    assert 'points="3.0,22.0 177.0,22.0"' in card(record(state), {"step": [1, 2], "loss": [1.0, 1.0]})


def test_outside_of_a_notebook_nothing_is_shown() -> None:
    with live_card(object()) as show:
        show()
