"""What MLflow shows of a run: unmodified programs in containers without a network, a real server."""

from __future__ import annotations

import hashlib
import io
import json
import platform
import shutil
import subprocess
import tarfile
import urllib.request
from pathlib import Path

import pytest
from authenticating_proxy import authenticating_proxy
from launch_command import Launch
from server_peer import Known, Server, stop_server

from launcher.tracking.mlflow import local_server
from runtime.state_dir import StateDir

pytestmark = pytest.mark.requires("overlayfs", "userns")


@pytest.fixture(scope="module")
def logged(session_home: Path, mlflow_project: Path) -> str:
    """The id of a run whose program has logged everything that it can; its project has an uncommitted change."""
    launch = Launch(session_home, mlflow_project)
    launch("experiment=plain", timeout_s=600)
    program = mlflow_project / "experiments/logs/train.py"
    program.write_text(program.read_text() + "# not committed\n")
    launch("experiment=logs", f"env.OTHER_RUN={launch.record()['mlflow_run_id']}", "--note", "a try", timeout_s=600)
    return str(launch.record()["run_id"])


@pytest.fixture
def known(logged: str, logging_launch: Launch, recorded: Server) -> Known:
    return recorded.run(logging_launch.record(logged)["mlflow_run_id"])


@pytest.mark.any_user
def test_what_an_unmodified_program_logs_is_in_its_run(known: Known, recorded: Server) -> None:
    run_id = known.info["run_id"]
    assert {"lr": "0.1", "how": "everything", "opt.name": "adam", "opt.layers": "[3, 4]", "depth": "3"} == known.params
    assert ("0.2", "yes", "7") == (known.tags["launch.logged.lr"], known.tags["mine"], known.tags["launch.seed"])
    assert [(0, 1.0), (1, 1 / 2), (2, 1 / 3)] == recorded.history(run_id, "loss")
    assert [(1, "NaN")] == recorded.history(run_id, "broken")
    assert [(4, 3.5)] == recorded.history(run_id, "from_file")
    assert "FINISHED" == known.info["status"]
    assert 1 << 20 == recorded.artifacts(run_id)["model/weights.bin"]


@pytest.mark.any_user
def test_runs_that_a_program_opens_stand_below_its_own(known: Known, recorded: Server) -> None:
    runs = map(recorded.run, recorded.runs_of(known.info["experiment_id"]))
    children = {run.info["run_name"]: run for run in runs if run.tags.get("mlflow.parentRunId") == known.info["run_id"]}
    assert {"fold", "second"} == set(children)
    assert {"FINISHED"} == {child.info["status"] for child in children.values()}
    assert ({"inner": 5.0}, {"second_loss": 2.0}) == (children["fold"].metrics, children["second"].metrics)


@pytest.mark.any_user
def test_tags_say_what_ran_where_and_how_it_ended(known: Known, logged: str, logging_launch: Launch, recorded: Server) -> None:
    record, tags = logging_launch.record(logged), known.tags
    for name in ("image_digest", "lock_digest", "spec_digest", "base_digest", "code_digest", "run_id", "host"):
        assert record[name] == tags[f"launch.{name}"]
    assert (f"Linux {platform.release()}", "0") == (tags["launch.kernel"], tags["launch.gpu_count"])
    assert tags["launch.cpu"]
    assert ("completed", "0") == (tags["launch.reason"], tags["launch.exit_code"])
    assert ("0.5", str(256 << 20)) == (tags["launch.cpus"], tags["launch.memory_bytes"])
    assert tags["mlflow.source.name"].startswith("launch experiment=logs ")
    assert tags["mlflow.note.content"].startswith("logs to MLflow as any program does\n\na try\n")
    assert "vision" == tags["team"]
    experiment = recorded.client.get("experiments/get", experiment_id=known.info["experiment_id"])["experiment"]
    assert {"key": "mlflow.experimentKind", "value": "custom_model_development"} in experiment["tags"]


@pytest.mark.requires("cgroup-memory", "cgroup-cpu")
def test_tags_say_what_was_used(launch: Launch, recorded: Server) -> None:
    uses = "import time\nheld = bytearray(20 << 20)\nwhile time.process_time() < 0.2: pass"
    launch("experiment=probe", "tracking={}", "--", "python3", "-c", uses)
    tags = recorded.run(launch.record()["mlflow_run_id"]).tags
    assert 20 << 20 < int(tags["launch.peak_memory_bytes"]) < 256 << 20
    assert 0.2 < float(tags["launch.cpu_s"]) < 60


@pytest.mark.any_user
@pytest.mark.requires("git")
def test_tags_name_the_revision_and_what_was_changed_since(known: Known, mlflow_project: Path) -> None:
    head = subprocess.run(["git", "rev-parse", "HEAD"], cwd=mlflow_project, capture_output=True, text=True, check=True)
    assert head.stdout.strip() == known.tags["mlflow.source.git.commit"]
    assert ("main", "true") == (known.tags["mlflow.source.git.branch"], known.tags["launch.dirty"])
    assert "+# not committed" in known.tags["mlflow.source.git.diff"]


@pytest.mark.any_user
def test_artifacts_hold_what_it_takes_to_run_it_again(
    known: Known, logged: str, logging_launch: Launch, recorded: Server, mlflow_project: Path
) -> None:
    def content(path: str) -> bytes:
        root = known.info["artifact_uri"].removeprefix("mlflow-artifacts:/")
        return recorded.client.send("GET", f"/api/2.0/mlflow-artifacts/artifacts/{root}/{path}", headers={}).content()

    plan = json.loads(content("launch/plan.json"))
    assert logging_launch.record(logged)["image_digest"] == plan["image_digest"]
    assert b"lr: 0.1" in content("launch/spec.yaml")
    assert b"mlflow-skinny==" in content("launch/requirements.lock")
    assert b"--hash=sha256:" in content("launch/requirements.lock")
    assert "CycloneDX" == json.loads(content("launch/sbom.json"))["bomFormat"]
    with tarfile.open(fileobj=io.BytesIO(content("launch/code.tar"))) as code:
        program = next(member for member in code if member.name.endswith("train.py"))
        frozen = code.extractfile(program)
        assert frozen is not None
        assert (mlflow_project / "experiments/logs/train.py").read_bytes() == frozen.read()
    assert b"on stderr\n" in content("logs/stderr.txt")
    assert hashlib.sha256(b"").hexdigest() == hashlib.sha256(content("logs/stdout.txt")).hexdigest()
    assert (b"42\n", b"hello") == (content("result.txt"), content("notes/hello.txt"))
    assert b'"event":"started"' in content("launch/journal.jsonl")


@pytest.mark.any_user
def test_a_sweep_is_a_parent_with_its_trials_below(logging_launch: Launch, recorded: Server) -> None:
    done = logging_launch("-m", "experiment=plain", "params.lr=0.3,0.1,0.2", "params.code=0,5", check=1)
    records = logging_launch.runs()
    parent = next(record for record in reversed(records) if record["parent_run_id"] is None)
    trials = [record for record in records if record["parent_run_id"] == parent["run_id"]]
    above = recorded.run(parent["mlflow_run_id"])
    below = [recorded.run(trial["mlflow_run_id"]) for trial in trials]
    assert [above.info["run_id"]] * 6 == [run.tags["mlflow.parentRunId"] for run in below]
    assert {"FINISHED": 3, "FAILED": 3} == {s: [r.info["status"] for r in below].count(s) for s in ("FINISHED", "FAILED")}
    assert ("FAILED", "program") == (above.info["status"], above.tags["launch.reason"])
    best = next(trial for trial in trials if trial["exit_code"] == 0 and trial["params"]["lr"] == 0.1)
    found = {name: above.tags[f"launch.best_{name}"] for name in ("run_id", "mlflow_run_id", "trial", "overrides")}
    expected = {name: best[name] for name in ("run_id", "mlflow_run_id")}
    assert {**expected, "trial": str(best["trial"]), "overrides": "params.lr=0.1 params.code=0"} == found
    assert {"loss": 0.1} == above.metrics
    assert above.info["run_id"] in done.stderr


@pytest.mark.any_user
def test_a_rerun_names_its_original(logging_launch: Launch, recorded: Server) -> None:
    logging_launch("experiment=plain")
    first = logging_launch.record()["run_id"]
    logging_launch("rerun", first)
    assert first == recorded.run(logging_launch.record()["mlflow_run_id"]).tags["launch.rerun_of"]


@pytest.mark.any_user
def test_a_server_of_ones_own_is_asked_with_ones_own_password(logging_launch: Launch, recorded: Server, tmp_path: Path) -> None:
    who = {"MLFLOW_TRACKING_USERNAME": "ada", "MLFLOW_TRACKING_PASSWORD": "l0velace"}
    with authenticating_proxy(local_server.ui(recorded.state), user="ada", password="l0velace") as uri:
        there = Launch(tmp_path / "home", logging_launch.project, who)
        (tmp_path / "home").mkdir()
        (tmp_path / "home/store").symlink_to(logging_launch.home / "store")
        there("experiment=logs", "params.how=short", f"tracking.uri={uri}", timeout_s=600)
        record = there.record()
        wrong = Launch(there.home, there.project, {**who, "MLFLOW_TRACKING_PASSWORD": "guess"})
        refused = wrong("experiment=logs", "params.how=short", f"tracking.uri={uri}")
        there("sync")  # with the right one that arrives, too
    run = recorded.run(record["mlflow_run_id"])
    assert ("FINISHED", {"loss": 1.0}) == (run.info["status"], {k: v for k, v in run.metrics.items() if k == "loss"})
    assert "result.txt" in recorded.artifacts(record["mlflow_run_id"])
    assert record["mlflow_url"].startswith(uri)
    assert not (there.home / "mlflow/mlflow.db").exists()
    assert "MLflow lacks all of it: " in refused.stderr
    assert "401" in refused.stderr
    assert "FINISHED" == recorded.run(there.record()["mlflow_run_id"]).info["status"]
    written = [path.read_bytes() for path in (there.home / "runs").rglob("*") if path.is_file()]
    assert not [content for content in written if b"l0velace" in content]


@pytest.mark.any_user
def test_without_tracking_no_server_is_started(mlflow_project: Path, session_home: Path, tmp_path: Path) -> None:
    (tmp_path / "home").mkdir()
    StateDir(session_home).ensure()  # another test may not have been there before
    (tmp_path / "home/store").symlink_to(session_home / "store")
    launch = Launch(tmp_path / "home", mlflow_project)
    done = launch("experiment=plain", "tracking=none", timeout_s=600)
    assert (None, None) == (launch.record()["mlflow_run_id"], launch.record()["mlflow_url"])
    assert "mlflow" not in done.stderr
    assert not local_server.is_up(StateDir(launch.home))


@pytest.mark.any_user
def test_a_deleted_experiment_costs_no_run_and_is_told(logging_launch: Launch, recorded: Server) -> None:
    words = ("experiment=logs", "params.how=short", "tracking.experiment=gone")
    logging_launch(*words, timeout_s=600)
    experiment = recorded.client.experiment("gone").experiment_id
    recorded.client.post("experiments/delete", {"experiment_id": experiment})
    done = logging_launch(*words)
    run_id = logging_launch.record()["run_id"]
    assert "the MLflow experiment `gone` is deleted" in done.stderr
    assert "warning" in logging_launch("sync", check=125).stderr
    recorded.client.post("experiments/restore", {"experiment_id": experiment})
    logging_launch("sync")
    run = recorded.run(logging_launch.record(run_id)["mlflow_run_id"])
    assert ("FINISHED", 1.0) == (run.info["status"], run.metrics["loss"])


@pytest.mark.any_user
def test_two_first_launches_share_one_server(mlflow_project: Path, session_home: Path, tmp_path: Path) -> None:
    (tmp_path / "home").mkdir()
    StateDir(session_home).ensure()  # another test may not have been there before
    (tmp_path / "home/store").symlink_to(session_home / "store")
    launch = Launch(tmp_path / "home", mlflow_project)
    both = [launch.start("experiment=plain") for _ in range(2)]
    for process in both:
        _out, err = process.communicate(timeout=300)
        assert 0 == process.returncode, err
    server = Server(StateDir(launch.home))
    ids = {record["mlflow_run_id"] for record in launch.runs()}
    assert ids == set(server.runs_of(server.client.experiment("plain").experiment_id))
    url = launch("ui").stdout.strip()
    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(url, timeout=60) as page:
        assert b"MLflow" in page.read()
    stop_server(server.state)
    shutil.rmtree(launch.home)
