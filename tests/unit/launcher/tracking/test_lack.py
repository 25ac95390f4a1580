"""What a person is told that MLflow lacks."""

from __future__ import annotations

import json
from typing import Any

import pytest
from journal_lines import write_event

from launcher.cli.main import run
from launcher.journal.run_journal import read_state
from launcher.tracking import tracker_state
from launcher.tracking.lack import lack_of, lack_of_sweep, lack_words, warnings
from launcher.tracking.mlflow.description import Description, write_description
from launcher.tracking.tracker_state import TrackerState
from runtime.state_dir import RunDir

POINTS = (
    '{"key":"loss","value":0.5,"step":0,"time":1}\n{"tag":"note","value":"x"}\n'
    + '{"key":"loss","value":1.0,"step":1,"time":2}\n' * 3
)


def told(run_dir: RunDir, **state: Any) -> None:
    run_dir.mlflow.write_text(json.dumps({"run_id": "feed"}))
    tracker_state.save(run_dir, TrackerState(**state))


@pytest.fixture
def run_dir(run_dir: RunDir) -> RunDir:
    write_event(run_dir.journal, "created", run_id=run_dir.run_id, experiment="digits")
    write_event(run_dir.journal, "started", attempt=1)
    run_dir.logged.write_text(POINTS)
    return run_dir


def end(run_dir: RunDir) -> int:
    write_event(run_dir.journal, "finished", reason="completed", exit_code=0)
    end_ms = read_state(run_dir.journal).status[1]
    assert end_ms is not None
    return end_ms


def test_a_run_that_goes_on_lacks_what_could_not_be_sent(run_dir: RunDir) -> None:
    told(run_dir, status="RUNNING", logged=0)
    assert None is lack_of(run_dir), "it is on its way"
    told(run_dir, status="RUNNING", logged=len(POINTS) - 1, failure="no answer")
    assert None is lack_of(run_dir)
    told(run_dir, status="RUNNING", logged=0, failure="no answer")
    assert "4 points" == lack_of(run_dir)


def test_a_run_that_has_ended_lacks_its_points_its_end_its_files_or_nothing(run_dir: RunDir) -> None:
    end_ms = end(run_dir)
    assert "all of it" == lack_of(run_dir)
    told(run_dir, status="RUNNING", logged=POINTS.index("\n") + 1)
    assert "3 points and its end" == lack_of(run_dir)
    told(run_dir, status="FINISHED", end_ms=end_ms, logged=len(POINTS))
    assert "files" == lack_of(run_dir)
    told(run_dir, status="FINISHED", end_ms=end_ms, artifacts_sent_for=end_ms, logged=len(POINTS))
    assert None is lack_of(run_dir)
    assert [] == warnings(run_dir)


def test_a_run_that_shall_not_be_tracked_lacks_nothing(run_dir: RunDir) -> None:
    lines = [json.loads(line) for line in run_dir.journal.read_text().splitlines()]
    run_dir.journal.write_text("".join(json.dumps({**line, "tracking": False}) + "\n" for line in lines))
    end(run_dir)
    assert None is lack_of(run_dir)


def test_it_is_said_why_and_what_becomes_of_it(run_dir: RunDir) -> None:
    end(run_dir)
    told(run_dir, status="RUNNING", logged=len(POINTS), failure="cannot reach it")
    words = "MLflow lacks its end: cannot reach it (sent in the background; `launch sync` waits for it)"
    assert [words] == warnings(run_dir)
    told(run_dir, status="RUNNING", logged=len(POINTS), failure="401; set a token", needs_credentials=True)
    assert "MLflow lacks its end: 401; set a token (sent after the next command that has them)" == lack_words(run_dir)
    told(run_dir, status="RUNNING", logged=len(POINTS), failure="it is deleted", is_given_up=True)
    words = f"MLflow lacks its end: it is deleted (nobody tries again before `launch sync {run_dir.run_id}`)"
    assert words == lack_words(run_dir)


def test_a_sweep_counts_its_runs(run_dir: RunDir) -> None:
    end(run_dir)
    assert None is lack_of_sweep(run_dir, [])
    run_dir.state.unsent.add(run_dir)
    assert "MLflow lacks 1 of its runs (sent in the background; `launch sync` waits for it)" == lack_of_sweep(run_dir, ["abcdef"])


def test_commands_that_look_say_it(run_dir: RunDir, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("LAUNCH_HOME", str(run_dir.state.root))
    monkeypatch.setenv("SLURM_JOB_ID", "17")  # no sender
    write_description(run_dir, Description("digits", "digits", "ada", 0))
    end(run_dir)
    told(run_dir, status="RUNNING", logged=0, failure="cannot reach it")
    assert 0 == run(["ps"])
    assert "MLflow lacks something of 1 run that ended" in capsys.readouterr().err
    assert 0 == run(["runs"])
    table = capsys.readouterr().out
    assert "MLFLOW LACKS" in table
    assert "4 points and its end" in table
    assert 0 == run(["runs", "show", run_dir.run_id])
    assert "MLflow lacks 4 points and its end: cannot reach it" in capsys.readouterr().out
    assert 0 == run(["runs", "show", run_dir.run_id, "--json"])
    assert json.loads(capsys.readouterr().out)["mlflow_lacks"].startswith("MLflow lacks 4 points and its end")
