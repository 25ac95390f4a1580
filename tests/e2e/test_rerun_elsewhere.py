"""`launch rerun` where there is nothing but the tracking server's address: image and code are made again from the record."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from launch_command import Launch
from server_peer import Server, end_sending, stop_server
from terminal_session import TerminalSession

from runtime.state_dir import StateDir

pytestmark = [pytest.mark.any_user, pytest.mark.requires("overlayfs", "userns")]

PROGRAM = """\
import json, os, pathlib, sys
lr = float(sys.argv[1])
table = pathlib.Path(os.environ["LAUNCH_DATA_TABLE"]).read_text()
with open(os.environ["LAUNCH_METRICS"], "a") as metrics:
    for step in range(3):
        metrics.write(json.dumps({"step": step, "loss": lr / (step + len(table)), "time/step_s": os.times().elapsed}) + "\\n")
outputs = pathlib.Path(os.environ["LAUNCH_OUTPUTS"])
(outputs / "weights").write_text(str(lr))
(outputs / "launch").mkdir()
(outputs / "launch/plan.json").write_text('{"plan": "of the program"}')
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
def recorded_run(session_home: Path, probe_project: Path, tmp_path: Path, recorded: Server) -> dict[str, str]:
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
        done = there("rerun", recorded_run["mlflow_run_id"], "--trust", "--verify")
        again = there.record()
        assert f"of {recorded_run['run_id']}: identical" in done.stderr
        assert "same     image, code, data, params" in done.stderr.replace("lock, ", "")
        assert recorded_run["image_digest"] == again["image_digest"]
        assert recorded_run["spec_digest"] == again["spec_digest"]

        (tmp_path / "table.csv").write_text("1,2,3\n")
        other = there("rerun", recorded_run["mlflow_run_id"], "--trust", "--verify", check=1)
        assert "`data.table`" in other.stderr
        assert "differs  data.table" in other.stderr
        assert "likely cause" in other.stderr
        assert "different from step 0 (loss" in other.stderr

        loose = there("rerun", recorded_run["mlflow_run_id"], "--trust", "--verify", "--rtol=0.9")
        assert "within tolerance 0.9" in loose.stderr

        (tmp_path / "table.csv").unlink()
        assert "data.table=PATH" in there("rerun", recorded_run["mlflow_run_id"], "--trust", check=2).stderr
    finally:
        end_sending(StateDir(there.home))
        stop_server(StateDir(there.home))


def test_who_has_no_such_run_is_told_where_to_ask(launch: Launch, recorded_run: dict[str, str]) -> None:
    unknown = "0123456789abcdef" * 2
    assert "--from URI" in launch("rerun", unknown, check=2).stderr
    assert "knows no run" in launch("rerun", unknown, f"--from={recorded_run['uri']}", check=2).stderr


@contextmanager
def artifact_replaced(run: dict[str, str], home: Path, name: str, content: str) -> Iterator[None]:
    """As whoever can write to the server may have done; before launch kept the name to itself, the run's program too."""
    (place,) = (home / "mlflow/artifacts").glob(f"*/{run['mlflow_run_id']}/artifacts/launch/{name}")
    before = place.read_bytes()
    place.unlink()  # it is another name of the run's own file
    place.write_text(content)
    yield
    place.unlink()
    place.write_bytes(before)


@pytest.fixture
def there(recorded_run: dict[str, str], tmp_path: Path) -> Iterator[Launch]:
    """A machine that has nothing but the address of the server."""
    (tmp_path / "elsewhere").mkdir()
    launch = Launch(Path(recorded_run["home"]), tmp_path / "elsewhere", environ={"MLFLOW_TRACKING_URI": recorded_run["uri"]})
    yield launch
    end_sending(StateDir(launch.home))
    stop_server(StateDir(launch.home))


def test_the_forged_plan_is_not_run(recorded_run: dict[str, str], there: Launch, session_home: Path) -> None:
    """It ran on a colleague's machine, with his secrets, paths and network."""
    plan = (session_home / "runs" / recorded_run["run_id"] / "plan.json").read_text()
    network = plan.replace('"network": "none"', '"network": "host"')
    code = plan.replace(recorded_run["code_digest"], "sha256:" + "0" * 64)
    for forged, words in ((network, "its plan digest is"), (code, "its plan digest is"), ("[1]", "cannot be read")):
        assert forged != plan
        with artifact_replaced(recorded_run, session_home, "plan.json", forged):
            refused = there("rerun", recorded_run["mlflow_run_id"], "--trust", check=125).stderr
        assert words in refused
        assert "Traceback" not in refused
    assert [] == there.runs()


def test_the_plan_of_an_older_record_fits_by_what_that_has(
    recorded_run: dict[str, str], there: Launch, session_home: Path
) -> None:
    client = Server(StateDir(session_home)).client
    client.post("runs/delete-tag", {"run_id": recorded_run["mlflow_run_id"], "key": "launch.plan_digest"})
    plan = (session_home / "runs" / recorded_run["run_id"] / "plan.json").read_text()
    with artifact_replaced(
        recorded_run, session_home, "plan.json", plan.replace(recorded_run["code_digest"], "sha256:" + "0" * 64)
    ):
        assert "its code digest is" in there("rerun", recorded_run["mlflow_run_id"], "--trust", check=125).stderr
    with artifact_replaced(recorded_run, session_home, "plan.json", plan.replace('"caches": {}', '"caches": {"../../x": "/x"}')):
        assert "is none of launch's" in there("rerun", recorded_run["mlflow_run_id"], "--trust", check=125).stderr
    assert "identical" in there("rerun", recorded_run["mlflow_run_id"], "--trust", "--verify").stderr


def test_a_stranger_s_program_gets_nothing_before_somebody_says_so(
    recorded_run: dict[str, str], there: Launch, tmp_path: Path
) -> None:
    alone = there("rerun", recorded_run["mlflow_run_id"], check=2)
    assert f"reads     {tmp_path / 'table.csv'}" in alone.stderr
    assert "--trust" in alone.stderr
    for answer, code in (("n", 1), ("y", 0)):
        with TerminalSession(there, "rerun", recorded_run["mlflow_run_id"]) as session:
            session.wait_for("table.csv")
            session.wait_for("run it with that? [y/N]")
            assert [] == there.runs()
            session.type(f"{answer}\n")
            assert code == session.end(), session.said
    assert 1 == len(there.runs())


def test_what_somebody_names_is_given_without_a_question(recorded_run: dict[str, str], there: Launch, tmp_path: Path) -> None:
    there("rerun", recorded_run["mlflow_run_id"], f"data.table={tmp_path / 'table.csv'}")
