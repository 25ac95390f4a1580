"""Who brings trials to MLflow is killed at random while a sweep runs: every trial is there once, with all that it has."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from launch_command import Launch, write_project
from server_peer import Server

from launcher.tracking.mlflow import local_server
from runtime.state_dir import StateDir

EXPERIMENT = """\
# @package _global_
command: [sh, -c, "echo '{\\"step\\": 1, \\"loss\\": 0.5}' > $LAUNCH_METRICS"]
params: {number: 0}
cpus: 0.5
memory: 64MiB
"""
TRIALS = 60


def trackers(process: subprocess.Popen[str]) -> list[int]:
    """Who sends a record just now: the tracker that trials share, or one of their own."""
    return [pid for pid in descendants(process.pid) if _holds_a_record(pid)]


def descendants(pid: int) -> Iterator[int]:
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in task.read_text().split():
            yield int(child)
            yield from descendants(int(child))


def _holds_a_record(pid: int) -> bool:
    with suppress(OSError):  # it ends
        return any(os.readlink(fd).endswith("/tracker.lock") for fd in Path(f"/proc/{pid}/fd").iterdir())
    return False


def server_pid(state: StateDir) -> int:
    return int(json.loads((state.mlflow / "server.json").read_text())["pid"])


@pytest.mark.requires("patience")
def test_every_trial_is_in_mlflow_once_whoever_is_killed(session_home: Path, tmp_path: Path) -> None:
    project = write_project(tmp_path / "project", "short", experiment=EXPERIMENT, program="")
    state, launch, chance = StateDir(session_home), Launch(session_home, project), random.Random(7)
    local_server.ui(state)
    values = ",".join(map(str, range(TRIALS)))
    process = launch.start(
        "-m", "experiment=short", f"params.number=choice({values})", "sweep.parallel=2", stdout=subprocess.PIPE, text=True
    )
    killed: Counter[str] = Counter()
    server_lives_until = time.monotonic() + 2
    while process.poll() is None:
        time.sleep(chance.uniform(0.1, 1.0))
        with suppress(OSError, ValueError, IndexError):  # nobody to kill just now
            if time.monotonic() > server_lives_until:
                server_lives_until = time.monotonic() + 30  # it needs some seconds to start again
                os.kill(server_pid(state), signal.SIGKILL)
                killed["server"] += 1
            else:
                os.kill(chance.choice(trackers(process)), signal.SIGKILL)
                killed["tracker"] += 1
    assert 0 == process.returncode
    assert {"server", "tracker"} == set(killed)
    deadline = time.monotonic() + 60
    while launch("sync", check=None).returncode != 0:
        assert time.monotonic() < deadline
    server = Server(state)
    local_server.ui(state)
    sweep = next(run["sweep_id"] for run in launch.runs() if run["experiment"] == "short" and run["sweep_id"])
    experiment = server.client.experiment("short").experiment_id
    marked = {"experiment_ids": [experiment], "filter": f"tags.`launch.sweep_id` = '{sweep}'", "max_results": 1000}
    runs = server.client.post("runs/search", marked)["runs"]
    tags = [{each["key"]: each["value"] for each in run["data"]["tags"]} for run in runs]
    trials = Counter(int(each["launch.trial"]) for each in tags if "launch.trial" in each)
    assert dict.fromkeys(range(1, TRIALS + 1), 1) == dict(sorted(trials.items()))
    for run in runs:
        assert "FINISHED" == run["info"]["status"]
        if any(each["key"] == "launch.trial" for each in run["data"]["tags"]):
            assert [(1, 0.5)] == server.history(run["info"]["run_id"], "loss")
            assert "launch/plan.json" in server.artifacts(run["info"]["run_id"])
