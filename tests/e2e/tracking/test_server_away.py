"""A server that is away in the middle of runs and a sweep: they end as ever, and MLflow has all of them when it is back, without
any command."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest
from launch_command import Launch, write_project
from server_peer import Known, Server
from unwell_proxy import Between
from waiting import eventually

from runtime.state_dir import StateDir

EXPERIMENT = """\
# @package _global_
command: [sh, -c, "echo '{\\"step\\": 1, \\"loss\\": 0.5}' > $LAUNCH_METRICS; echo weights > $LAUNCH_OUTPUTS/model.bin"]
params: {number: 0}
cpus: 0.5
memory: 64MiB
"""
TRIALS = 4


def whole(server: Server, record: dict[str, Any]) -> Known:
    """What MLflow has of the run, which is all of it."""
    known = server.run(record["mlflow_run_id"])
    assert ("FINISHED", "completed") == (known.info["status"], known.tags["launch.reason"])
    assert int(known.info["end_time"]) > 0
    if record["sweep_id"] != record["run_id"]:
        assert [(1, 0.5)] == server.history(known.info["run_id"], "loss")
        assert {"model.bin", "launch/plan.json", "logs/stdout.txt"} <= set(server.artifacts(known.info["run_id"]))
    return known


@pytest.mark.any_user
@pytest.mark.requires("overlayfs", "userns")
@pytest.mark.parametrize(
    ("runs", "away_s"),
    [pytest.param(4, 2, id="for moments"), pytest.param(20, 600, id="for ten minutes", marks=pytest.mark.requires("patience"))],
)
def test_runs_and_a_sweep_are_whole_in_mlflow_when_the_server_is_back(
    between: Between, server: Server, session_home: Path, tmp_path: Path, runs: int, away_s: float
) -> None:
    state = StateDir(session_home)
    launch = Launch(session_home, write_project(tmp_path / "project", "short", experiment=EXPERIMENT, program=""))
    words = ("experiment=short", f"tracking.uri={between.uri}")
    launch(*words, timeout_s=600)
    before = {record["run_id"] for record in launch.runs()}

    between.how = "gone"
    back_at = time.monotonic() + away_s
    for number in range(runs // 2):
        assert "MLflow lacks all of it: cannot reach" in launch(*words, f"params.number={number}").stderr
    values = ",".join(map(str, range(TRIALS)))
    sweep = launch("-m", *words, f"params.number=choice({values})", "sweep.parallel=2")
    assert 1 == sweep.stderr.count("MLflow lacks"), sweep.stderr
    assert f"MLflow lacks {TRIALS + 1} of its runs: cannot reach" in sweep.stderr
    assert f"{TRIALS} of {TRIALS} trials finished" in sweep.stderr
    assert f"MLflow lacks something of {runs // 2 + TRIALS + 1} runs that ended" in launch("ps").stderr
    time.sleep(max(0.0, back_at - time.monotonic()))
    between.how = "well"
    for number in range(runs // 2, runs):
        launch(*words, f"params.number={number}")

    eventually(lambda: not state.unsent.runs(), within_s=180)
    made = [record for record in launch.runs() if record["run_id"] not in before]
    assert runs + TRIALS + 1 == len(made)
    known = {record["run_id"]: whole(server, record) for record in made}
    (parent,) = (record for record in made if record["sweep_id"] == record["run_id"])
    trials = [record for record in made if record["parent_run_id"] == parent["run_id"]]
    assert TRIALS == len(trials)
    assert {parent["mlflow_run_id"]} == {known[trial["run_id"]].tags["mlflow.parentRunId"] for trial in trials}
    marked = {"experiment_ids": [known[parent["run_id"]].info["experiment_id"]], "max_results": 1000}
    tags = [run["data"]["tags"] for run in server.client.post("runs/search", marked)["runs"]]
    ids = [tag["value"] for each in tags for tag in each if tag["key"] == "launch.run_id" and tag["value"] in known]
    assert sorted(known) == sorted(ids), "each once"
    assert "MLflow" not in launch("ps").stderr
    assert json.loads(launch("runs", "show", parent["run_id"], "--json").stdout)["mlflow_lacks"] is None
