"""What MLflow is told, from the plan and the journal alone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from journal_lines import state_after, write_event

from launcher.tracking.mlflow.description import current_tags, describe, flattened, may_use_mlflow, parent_tag
from runtime.state_dir import RunDir, StateDir


def test_params_are_flat_and_lists_are_json() -> None:
    params = {"lr": 0.1, "opt": {"name": "adam", "betas": [0.9, 0.99]}, "amp": True, "note": None, "empty": {}, "title": "a b"}
    assert {
        "lr": "0.1",
        "opt.name": "adam",
        "opt.betas": "[0.9, 0.99]",
        "amp": "true",
        "note": "null",
        "empty": "{}",
        "title": "a b",
    } == flattened(params)


FINISHED = {"reason": "oom", "exit_code": 137, "signal": 9, "usage": {"cpu_s": 1.5}, "message": None}
LIFE: list[tuple[str, float, dict[str, Any]]] = [
    ("created", 1.0, {}),
    ("queued", 1.0, {"image_digest": "sha256:1"}),
    ("leased", 2.0, {"gpus": ["GPU-a", "GPU-b"]}),
    ("started", 3.0, {"attempt": 1}),
    ("attempt", 3.5, {"attempt": 1, "reason": "gpu_lost"}),
    ("started", 4.0, {"attempt": 2}),
    ("note", 5.0, {"facts": {"driver": "570"}}),
    ("finished", 6.0, FINISHED),
]
KNOWN = {
    "launch.image_digest": "sha256:1",
    "mlflow.docker.image.id": "sha256:1",
    "launch.gpus": "GPU-a,GPU-b",
    "launch.attempt": "2",
    "launch.driver": "570",
}
ENDED = {"launch.reason": "oom", "launch.exit_code": "137", "launch.signal": "9", "launch.cpu_s": "1.5"}


def test_later_events_overwrite_tags(tmp_path: Path) -> None:
    assert {**KNOWN, **ENDED} == current_tags(state_after(tmp_path, *LIFE))


def test_what_was_said_at_an_end_is_not_true_of_a_run_that_goes_on(tmp_path: Path) -> None:
    resumed = ("resumed", 7.0)
    again = ("finished", 8.0, {"reason": "completed", "exit_code": 0, "usage": {}})
    assert {**KNOWN, **dict.fromkeys(ENDED, "")} == current_tags(state_after(tmp_path, *LIFE, resumed))
    ended = {**dict.fromkeys(ENDED, ""), "launch.reason": "completed", "launch.exit_code": "0"}
    assert {**KNOWN, **ended} == current_tags(state_after(tmp_path, *LIFE, resumed, again))


@pytest.mark.parametrize(
    ("steps", "may"),
    [
        ([{"step": "install-wheel", "name": "numpy"}], False),
        ([{"step": "install-wheel", "name": "mlflow-skinny"}], True),
        ([{"step": "import-image"}], True),
        ([{"step": "run-command", "argv": ["sh", "-c", "pip install mlflow"]}], True),
        ([{"step": "run-command", "argv": ["make"]}], False),
    ],
)
def test_only_a_program_that_can_have_mlflow_waits_for_it(steps: list[dict[str, object]], may: bool) -> None:
    assert may is may_use_mlflow({"build": {"steps": steps}})


@pytest.mark.parametrize(("uri", "is_told"), [("http://one:5000", True), ("http://other:5000", False), (None, False)])
def test_a_run_stands_below_the_one_it_repeats_where_that_is_known(tmp_path: Path, uri: str | None, is_told: bool) -> None:
    state = StateDir(tmp_path)
    first, again = state.run("aaaaaa"), state.run("bbbbbb")
    first.root.mkdir(parents=True)
    first.mlflow.write_text(json.dumps({"run_id": "f" * 32, "tracking_uri": "http://one:5000"}))
    run = state_after(tmp_path, ("created", 1.0, {"rerun_of": "aaaaaa"}))
    assert ({"mlflow.parentRunId": "f" * 32} if is_told else {}) == parent_tag(again, run, uri=uri)


def test_a_further_node_is_tracked_as_the_run_that_it_is_of(run_dir: RunDir) -> None:
    """Its own journal begins with its placement: that the run was created says the first node's."""
    code = {"digest": "sha256:1", "git": None}
    spec = {"name": "digits", "tracking": {}}
    plan = {"spec": spec, "code": code, "argv": ["true"], "spec_digest": "sha256:2", "base_digest": ""}
    run_dir.plan.write_text(json.dumps({"plan": {**plan, "build": {"steps": []}}}))
    write_event(run_dir.journal, "created", run_id=run_dir.run_id)
    node = run_dir.on_node(1)
    node.place.mkdir(parents=True)
    write_event(node.journal, "submitted", engine="slurm", job="1")
    assert describe(run_dir) is not None
    assert describe(run_dir) == describe(node)
