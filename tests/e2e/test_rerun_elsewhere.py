"""`launch rerun` where there is nothing but the tracking server's address: image and code are made again from the record."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
from launch_command import Launch
from server_peer import Server, stop_server

from runtime.state_dir import StateDir

pytestmark = [pytest.mark.any_user, pytest.mark.requires("overlayfs", "userns")]

PROGRAM = """\
import json, os, pathlib, sys
lr = float(sys.argv[1])
table = pathlib.Path(os.environ["LAUNCH_DATA_TABLE"]).read_text()
with open(os.environ["LAUNCH_METRICS"], "a") as metrics:
    for step in range(3):
        metrics.write(json.dumps({"step": step, "loss": lr / (step + len(table)), "time/step_s": os.times().elapsed}) + "\\n")
pathlib.Path(os.environ["LAUNCH_OUTPUTS"], "weights").write_text(str(lr))
"""

EXPERIMENT = """\
# @package _global_
image: {requirements: []}
code: {root: code}
command: [python3, train.py, "${params.lr}"]
params: {lr: 0.1}
cpus: 0.5
memory: 256MiB
"""


@pytest.fixture
def recorded_run(session_home: Path, probe_project: Path, tmp_path: Path) -> dict[str, str]:
    """A run whose project is gone. `home` is another machine's: it has what the image is based on, no more."""
    Launch(session_home, probe_project)("build", "experiment=probe")
    other = StateDir(tmp_path / "other").ensure()
    subprocess.run(["cp", "-al", f"{session_home}/store/.", str(other.store)], check=True)
    project = tmp_path / "project"
    (project / "conf/experiment").mkdir(parents=True)
    (project / "code").mkdir()
    (project / "conf/experiment/training.yaml").write_text(EXPERIMENT)
    (project / "code/train.py").write_text(f"# {tmp_path}\n{PROGRAM}")
    (tmp_path / "table.csv").write_text("1,2\n")
    launch = Launch(session_home, project)
    launch("experiment=training", f"data.table={tmp_path / 'table.csv'}")
    record = launch.record()
    shutil.rmtree(project)
    return {**record, "uri": launch_ui(session_home, tmp_path), "home": str(other.root)}


def launch_ui(home: Path, cwd: Path) -> str:
    return Launch(home, cwd)("ui").stdout.strip()


def test_a_run_is_made_again_from_mlflow_alone_and_is_the_same(
    recorded_run: dict[str, str], session_home: Path, tmp_path: Path
) -> None:
    (tmp_path / "elsewhere").mkdir()
    (dataset,) = Server(StateDir(session_home)).client.get("runs/get", run_id=recorded_run["mlflow_run_id"])["run"]["inputs"][
        "dataset_inputs"
    ]
    assert ("table", 32) == (dataset["dataset"]["name"], len(dataset["dataset"]["digest"]))
    there = Launch(Path(recorded_run["home"]), tmp_path / "elsewhere", environ={"MLFLOW_TRACKING_URI": recorded_run["uri"]})
    try:
        done = there("rerun", recorded_run["mlflow_run_id"], "--verify")
        again = there.record()
        assert f"of {recorded_run['run_id']}: identical" in done.stderr
        assert "same     image, code, data, params" in done.stderr.replace("lock, ", "")
        assert recorded_run["image_digest"] == again["image_digest"]
        assert recorded_run["spec_digest"] == again["spec_digest"]

        (tmp_path / "table.csv").write_text("1,2,3\n")
        other = there("rerun", recorded_run["mlflow_run_id"], "--verify", check=1)
        assert "`data.table`" in other.stderr
        assert "differs  data.table" in other.stderr
        assert "likely cause" in other.stderr
        assert "different from step 0 (loss" in other.stderr

        loose = there("rerun", recorded_run["mlflow_run_id"], "--verify", "--rtol=0.9")
        assert "within tolerance 0.9" in loose.stderr

        (tmp_path / "table.csv").unlink()
        assert "data.table=PATH" in there("rerun", recorded_run["mlflow_run_id"], check=2).stderr
    finally:
        stop_server(StateDir(there.home))


def test_who_has_no_such_run_is_told_where_to_ask(launch: Launch, recorded_run: dict[str, str]) -> None:
    unknown = "0123456789abcdef" * 2
    assert "--from URI" in launch("rerun", unknown, check=2).stderr
    assert "knows no run" in launch("rerun", unknown, f"--from={recorded_run['uri']}", check=2).stderr
