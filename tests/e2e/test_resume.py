"""`launch resume RUN`: the same run goes on where it was stopped or lost, in its outputs, logs, checkpoints and MLflow run."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import pytest
from launch_command import Launch
from server_peer import Server
from waiting import eventually

pytestmark = [pytest.mark.any_user, pytest.mark.requires("overlayfs", "userns")]

PROGRAM = """\
import json, os, pathlib, signal, sys, time
checkpoint = pathlib.Path(os.environ["LAUNCH_CHECKPOINTS"], "step")
first = int(checkpoint.read_text()) if checkpoint.exists() else 0
print(f"attempt {os.environ['LAUNCH_ATTEMPT']} resume {os.environ['LAUNCH_RESUME']} from {first}", flush=True)
pathlib.Path(os.environ["LAUNCH_OUTPUTS"], f"began-at-{first}").touch()
for step in range(first, 4):
    with open(os.environ["LAUNCH_METRICS"], "a") as metrics:
        metrics.write(json.dumps({"step": step, "loss": 1.0 / (step + 1)}) + "\\n")
    checkpoint.write_text(str(step + 1))
    if step == 1 and not first:
        print("waiting", flush=True)
        time.sleep(600)
"""

EXPERIMENT = """\
# @package _global_
image: {requirements: []}
code: {root: code}
command: [python3, train.py]
cpus: 0.5
memory: 256MiB
grace: 1s
"""


@pytest.fixture
def training(session_home: Path, tmp_path: Path) -> Launch:
    (tmp_path / "conf/experiment").mkdir(parents=True)
    (tmp_path / "code").mkdir()
    (tmp_path / "conf/experiment/training.yaml").write_text(EXPERIMENT)
    (tmp_path / "code/train.py").write_text(PROGRAM)
    return Launch(session_home, tmp_path)


def begun(launch: Launch, *more: str) -> tuple[str, Path]:
    """A run that has done two of its four steps, and its directory."""
    run_id = launch("-d", "experiment=training", *more).stdout.strip()
    run_dir = launch.home / "runs" / run_id
    eventually(lambda: "waiting" in (run_dir / "stdout.log").read_text())
    return run_id, run_dir


def test_a_stopped_run_goes_on_from_its_checkpoint_in_the_same_mlflow_run(training: Launch, recorded: Server) -> None:
    run_id, run_dir = begun(training)
    assert "has not ended" in training("resume", run_id, check=2).stderr
    training("stop", run_id)
    mlflow_run = training.record(run_id)["mlflow_run_id"]
    stopped = recorded.run(mlflow_run)
    assert "KILLED" == stopped.info["status"]

    done = training("resume", run_id)

    assert "attempt 2 resume 1 from 2\n" == done.stdout
    assert {"began-at-0", "began-at-2"} == set(os.listdir(run_dir / "outputs"))
    assert "attempt 1 resume 0 from 0\nwaiting\nattempt 2 resume 1 from 2\n" == (run_dir / "stdout.log").read_text()
    record = training.record(run_id)
    assert ("FINISHED", 2, mlflow_run) == (record["status"], record["attempt"], record["mlflow_run_id"])
    known = recorded.run(mlflow_run)
    assert ("FINISHED", "completed") == (known.info["status"], known.tags["launch.reason"])
    assert int(known.info["end_time"]) > int(stopped.info["end_time"])
    assert [(0, 1.0), (1, 1 / 2), (2, 1 / 3), (3, 1 / 4)] == recorded.history(mlflow_run, "loss")
    assert "is complete" in training("resume", run_id, check=2).stderr


def test_a_run_that_lost_its_host_goes_on(training: Launch) -> None:
    run_id, run_dir = begun(training, "tracking=none")
    events = [json.loads(line) for line in (run_dir / "journal.jsonl").read_text().splitlines()]
    init = next(event["init_pid"] for event in events if event["event"] == "started")
    supervisor = json.loads((run_dir / "supervisor.lock").read_text())["pid"]
    os.kill(supervisor, signal.SIGKILL)
    os.kill(init, signal.SIGKILL)
    eventually(lambda: training.record(run_id)["reason"] == "lost")
    assert "attempt 2 resume 1 from 2\n" == training("resume", run_id).stdout
    assert "completed" == training.record(run_id)["reason"]


def test_a_run_does_not_go_on_with_other_data_or_other_parameters(training: Launch, tmp_path: Path) -> None:
    (tmp_path / "table.csv").write_text("1,2\n")
    run_id, _run_dir = begun(training, "tracking=none", f"data.table={tmp_path / 'table.csv'}")
    training("stop", run_id)
    refused = training("resume", run_id, "params.lr=0.5", check=2)
    assert f"launch rerun {run_id} params.lr=0.5" in refused.stderr
    (tmp_path / "table.csv").write_text("1,2,3\n")
    assert "`data.table`" in training("resume", run_id, check=2).stderr
    assert "from 2" in training("resume", run_id, "--force").stdout


def test_retries_are_for_failures_of_the_machine_unless_more_is_asked_for(launch: Launch) -> None:
    done = launch("experiment=probe", "params.how='3'", "retries=1", check=3)
    assert "retry_on=[program]" in done.stderr
    assert 1 == launch.record()["attempt"]
    launch("experiment=probe", "params.how='3'", "retries=1", "retry_on=[program]", check=3)
    assert 2 == launch.record()["attempt"]
