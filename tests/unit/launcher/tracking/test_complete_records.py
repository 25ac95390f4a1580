"""Who has the run's directory can run it again, whatever MLflow was told and whatever became of its image."""

from __future__ import annotations

import json
import os
from typing import Any

import pytest
from journal_lines import write_event

from launcher.run.start.create_run import new_run_dir
from launcher.run.supervisor.tracker_process import TrackerProcess
from launcher.tracking.lack import warnings
from launcher.tracking.mlflow.artifacts import pending
from launcher.tracking.mlflow.description import Description
from launcher.tracking.record import record_files
from runtime.oci.digest import digest_bytes
from runtime.state_dir import RunDir, StateDir

RECORD = {"spec.yaml", "requirements.lock", "code.tar"}


def run_with(state: StateDir, *, tracking: dict[str, Any] | None, sweep_id: str | None = None) -> RunDir:
    run_dir = new_run_dir(state.ensure())
    lock = {"python": "3.13.5", "platform": "linux", "wheels": [], "digest": "sha256:" + "b" * 64}
    spec = {"name": "digits", "tracking": tracking}
    code = {"digest": "sha256:" + "a" * 64, "files": [], "git": None}
    plan = {"spec": spec, "lock": lock, "code": code, "build": {"steps": []}, "argv": [], "spec_digest": "", "base_digest": ""}
    run_dir.plan.write_text(json.dumps({"plan": plan, "image_digest": "", "identity": {"sweep_id": sweep_id}}))
    run_dir.outputs.mkdir()
    write_event(run_dir.journal, "created", run_id=run_dir.run_id)
    return run_dir


def finish(run_dir: RunDir) -> None:
    tracker = TrackerProcess(run_dir)
    write_event(run_dir.journal, "finished", reason="completed", exit_code=0, usage={})
    tracker.finish()


def record_of(run_dir: RunDir) -> set[str]:
    return {*RECORD, "outputs.json"} & set(os.listdir(run_dir.root))


@pytest.mark.parametrize(
    "tracking", [pytest.param(None, id="no MLflow"), pytest.param({"uri": "databricks://us"}, id="a server that is none")]
)
def test_a_run_that_mlflow_hears_nothing_of_has_a_whole_record(state: StateDir, tracking: dict[str, Any] | None) -> None:
    run_dir = run_with(state, tracking=tracking)
    finish(run_dir)
    assert RECORD == record_of(run_dir), "its outputs are there, and hashed when somebody asks"


def test_a_run_whose_files_mlflow_does_not_get_has_them_itself(state: StateDir) -> None:
    run_dir = run_with(state, tracking={})
    for artifacts in (False, True):
        described = Description("digits", "digits", "ada", 0, artifacts=artifacts)
        sent = {upload.file.name for upload in pending(run_dir, described, sent={}, refused=pytest.fail)}
        assert {*RECORD, *(["outputs.json"] if artifacts else [])} == record_of(run_dir)
        assert (record_of(run_dir) <= sent) == artifacts


def test_of_what_was_found_in_the_working_directory_the_smallest_files_are_sent(state: StateDir) -> None:
    """Nobody named them: a stray checkpoint of ten gigabytes shall not be uploaded, nor keep `model.txt` from being."""
    run_dir = run_with(state, tracking={})
    for name, size in {"big.ckpt": 5000, "model.txt": 10, "a/b.txt": 20}.items():
        (run_dir.outputs / "workspace" / name).parent.mkdir(parents=True, exist_ok=True)
        (run_dir.outputs / "workspace" / name).write_bytes(b"x" * size)
    (run_dir.outputs / "weights.bin").write_bytes(b"x" * 9000)
    told: list[str] = []
    described = Description("digits", "digits", "ada", 0, artifacts=True, keep=("**",), workspace_max_size=1000)
    sent = {upload.path for upload in pending(run_dir, described, sent={}, refused=told.append)}
    assert {"weights.bin", "workspace/model.txt", "workspace/a/b.txt"} == {path for path in sent if "launch/" not in path}
    assert "1 file not sent to MLflow, kept in `" in told[0]


def test_trials_that_mlflow_hears_nothing_of_have_what_is_common_once_too(state: StateDir) -> None:
    state.run("aaaaaa").root.mkdir(parents=True)
    trials = [run_with(state, tracking=None, sweep_id="aaaaaa") for _ in range(2)]
    for trial in trials:
        finish(trial)
    for name in ("code.tar", "requirements.lock"):
        assert 3 == (trials[0].root / name).stat().st_nlink
        assert (trials[0].root / name).samefile(trials[1].root / name)


def test_one_that_has_not_ended_has_none_yet(state: StateDir) -> None:
    run_dir = run_with(state, tracking=None)
    finish_without_end = TrackerProcess(run_dir)
    write_event(run_dir.journal, "submitted", engine="slurm", job="1")  # nobody here calls it another supervisor
    finish_without_end.finish()
    assert set() == record_of(run_dir)


def test_a_disk_without_room_for_it_is_told_at_the_end(state: StateDir) -> None:
    run_dir = run_with(state, tracking=None, sweep_id="aaaaaa")
    (state.run("aaaaaa").root / "code-aaaaaaaaaaaa.tar").mkdir(parents=True)  # in the way, as a full disk would be
    finish(run_dir)
    assert "cannot complete the record" in "".join(warnings(run_dir))


def test_outputs_are_hashed_again_only_when_something_was_done_to_them(state: StateDir) -> None:
    run_dir = run_with(state, tracking=None)
    output, listed = run_dir.outputs / "model.bin", run_dir.root / "outputs.json"
    output.write_bytes(b"weights")
    listed.write_text('{"model.bin": "known"}')
    os.utime(listed, ns=(2**62, 2**62))  # a clock has ticked since
    record_files.list_outputs(run_dir)
    assert {"model.bin": "known"} == json.loads(listed.read_bytes())
    os.utime(listed, ns=(0, 0))
    record_files.list_outputs(run_dir)
    assert {"model.bin": str(digest_bytes(b"weights"))} == json.loads(listed.read_bytes())
    (run_dir.outputs / "more").touch()
    os.utime(listed, ns=(2**62, 2**62))
    record_files.list_outputs(run_dir)
    assert {"model.bin", "more"} == json.loads(listed.read_bytes()).keys()
