"""A node that is lost and lives: its copy of a run, and the one that Slurm begins elsewhere."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path

import pytest
from counting_run import CountingRun, lives, one_history
from server_peer import Server, stop_server
from waiting import eventually

from launcher.tracking.mlflow import local_server
from runtime.state_dir import StateDir

pytestmark = pytest.mark.requires("root", "slurm", "overlayfs")


def test_of_two_copies_of_a_run_the_second_alone_is_in_the_record(counting, slurm, mended):
    run = CountingRun(counting, slurm, "cluster.requeue=true")
    run.counts(1)
    first_copy = run.processes()
    mended.append(run.lose_node())
    run.counts(2)
    eventually(lambda: not any(map(lives, first_copy)), "the end of the first copy, by itself", within_s=5)
    run.finish()
    one_history(run)
    record = run.record()
    assert ("completed", 2) == (record["reason"], record["attempt"])
    assert [("lost", 1)] == [(event["reason"], event["attempt"]) for event in run.lines("attempt")]
    assert not (run.directory / "superseded").exists()


@pytest.mark.requires("patience")
def test_a_copy_that_cannot_be_ended_writes_beside_the_run_and_not_into_it(counting, slurm, mended):
    """Its witness stands still, so nothing ends it: what it writes goes to files that are not the run's any more."""
    run = CountingRun(counting, slurm, "cluster.requeue=true")
    run.counts(1)
    supervisor = run.lines("placed")[-1]["pid"]
    witness = int(Path(f"/proc/{supervisor}/task/{supervisor}/children").read_text().split()[0])
    os.kill(witness, signal.SIGSTOP)
    try:
        first_copy = run.processes()
        mended.append(run.lose_node())
        aside = run.directory / "superseded" / f"{run.job}.0"
        run.counts(2)
        kept = (aside / "stdout.log").stat().st_size
        eventually(lambda: (aside / "stdout.log").stat().st_size > kept + 100, "the first copy's words in its own file")
        assert all(map(lives, first_copy))
        run.finish()
        one_history(run)
    finally:
        os.kill(witness, signal.SIGCONT)
    eventually(lambda: not any(map(lives, first_copy)), "the end of the first copy", within_s=5)
    one_history(run)


@pytest.mark.requires("patience")
@pytest.mark.parametrize("after_s", [0.0, 0.1, 0.3, 0.6, 1.0, 1.7])
def test_whenever_the_node_is_lost_one_attempt_is_in_the_record(counting, slurm, mended, after_s):
    run = CountingRun(counting, slurm, "cluster.requeue=true")
    eventually(lambda: run.squeue("%T") == "RUNNING", "its job's beginning")
    time.sleep(after_s)
    mended.append(run.lose_node())
    last = eventually(
        lambda: (placed := run.lines("placed")) and placed[-1]["placement"].endswith(".1") and placed[-1], "the second copy"
    )
    run.counts(last["attempt"])
    run.finish()
    time.sleep(2)
    one_history(run)
    assert "completed" == run.record()["reason"]
    assert all(not lives(placed["pid"]) for placed in run.lines("placed"))


@pytest.fixture
def recorded(counting):
    """The local MLflow server of the runs, up and answering."""
    state = StateDir(counting.home)
    local_server.ui(state)
    yield Server(state)
    stop_server(state)


@pytest.mark.requires("patience")
def test_mlflow_has_one_run_with_the_history_of_one_attempt_after_the_other(counting, slurm, mended, recorded):
    run = CountingRun(counting, slurm, "cluster.requeue=true", "tracking={}")
    run.counts(1)
    first_copy = run.processes()
    mended.append(run.lose_node())
    run.counts(2)
    eventually(lambda: not any(map(lives, first_copy)), "the end of the first copy", within_s=5)
    run.finish()
    counting("sync")
    one_history(run)
    known = json.loads((run.directory / "mlflow.json").read_text())
    assert [known["run_id"]] == recorded.runs_of(known["experiment_id"])
    logged = [json.loads(line) for line in (run.directory / "logged.jsonl").read_text().splitlines()]
    expected = sorted((entry["step"], entry["value"]) for entry in logged if entry["key"] == "attempt")
    assert expected == sorted(recorded.history(known["run_id"], "attempt"))
    seen = recorded.run(known["run_id"])
    assert ("FINISHED", "completed", "2") == (seen.info["status"], seen.tags["launch.reason"], seen.tags["launch.attempt"])
