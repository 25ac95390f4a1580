"""Trials of a moment share a tracker; it brings each to MLflow once, and when it is killed, their own do."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from contextlib import suppress

import pytest
from journal_lines import write_event
from server_peer import Server
from tracked_run import new_run

from launcher.run.supervisor.tracker_process import TrackerProcess, fork_shared_tracker
from runtime.state_dir import RunDir

pytestmark = pytest.mark.any_user


class Shared:
    def __init__(self) -> None:
        self.tracker = fork_shared_tracker()
        self.control, self.pid = self.tracker.control, self.tracker.pid

    def kill(self) -> None:
        with suppress(ProcessLookupError, ChildProcessError):
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)


@pytest.fixture
def shared() -> Iterator[Shared]:
    made = Shared()
    yield made
    made.control.close()
    made.kill()


def end(run_dir: RunDir, tracker: TrackerProcess) -> None:
    """As a supervisor ends a run."""
    write_event(run_dir.journal, "finished", reason="completed", exit_code=0, usage={})
    tracker.finish()


def test_short_trials_are_in_mlflow_when_they_have_ended(server: Server, shared: Shared) -> None:
    runs = [new_run(server.state, packages=("numpy",)) for _ in range(3)]
    trackers = [TrackerProcess(run_dir, shared=shared.tracker) for run_dir in runs]
    known = [tracker.wait_ready(timeout_s=5) for tracker in trackers]
    for run_dir, tracker in zip(runs, trackers, strict=True):
        run_dir.metrics.write_text('{"step": 3, "loss": 0.5}\n')
        end(run_dir, tracker)
    assert all(tracker.pid is None for tracker in trackers)
    for run_dir, ready in zip(runs, known, strict=True):
        assert ready["token"] == json.loads(run_dir.tracker_state.read_text())["token"]
        assert ready["mlflow"]["run_id"] == server.of(run_dir).info["run_id"]
        assert "FINISHED" == server.of(run_dir).info["status"]
        assert [(3, 0.5)] == server.history(ready["mlflow"]["run_id"], "loss")
        assert {"loss": 0.5} == json.loads(run_dir.last_metrics.read_text())


def test_a_killed_shared_tracker_costs_no_record(server: Server, shared: Shared) -> None:
    runs = [new_run(server.state, packages=("numpy",)) for _ in range(2)]
    trackers = [TrackerProcess(run_dir, shared=shared.tracker) for run_dir in runs]
    trackers[0].wait_ready(timeout_s=5)
    shared.kill()
    for run_dir, tracker in zip(runs, trackers, strict=True):
        end(run_dir, tracker)
        assert "FINISHED" == server.of(run_dir).info["status"]
