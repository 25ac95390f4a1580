"""What MLflow is told, from the plan and the journal alone."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from launcher.journal.journal import Event
from launcher.journal.status import RunStatus
from launcher.tracking.mlflow.description import current_status, current_tags, flattened, may_use_mlflow, parent_tag
from runtime.state_dir import StateDir


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


@pytest.mark.parametrize(
    ("names", "status", "ends"),
    [
        (["created"], RunStatus.SCHEDULED, False),
        (["created", "queued", "leased"], RunStatus.SCHEDULED, False),
        (["created", "started"], RunStatus.RUNNING, False),
        (["created", "started", "finished"], RunStatus.FINISHED, True),
        (["created", "started", "finished", "started"], RunStatus.RUNNING, False),
    ],
)
def test_mlflows_status_follows_the_journal(names: list[str], status: RunStatus, ends: bool) -> None:
    events = [Event(name, 5.0, {"reason": "completed"}) for name in names]
    assert (status, 5000 if ends else None) == current_status(events)


def test_later_events_overwrite_tags() -> None:
    events = [
        Event("queued", 1, {"image_digest": "sha256:1"}),
        Event("leased", 2, {"gpus": ["GPU-a", "GPU-b"]}),
        Event("started", 3, {"attempt": 1}),
        Event("started", 4, {"attempt": 2}),
        Event("note", 5, {"facts": {"driver": "570"}}),
        Event("finished", 6, {"reason": "oom", "exit_code": 137, "signal": 9, "usage": {"cpu_s": 1.5}, "message": None}),
    ]
    assert {
        "launch.image_digest": "sha256:1",
        "mlflow.docker.image.id": "sha256:1",
        "launch.gpus": "GPU-a,GPU-b",
        "launch.attempt": "2",
        "launch.driver": "570",
        "launch.reason": "oom",
        "launch.exit_code": "137",
        "launch.signal": "9",
        "launch.cpu_s": "1.5",
    } == current_tags(events)


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
    created = Event("created", 1.0, {"rerun_of": "aaaaaa"})
    assert ({"mlflow.parentRunId": "f" * 32} if is_told else {}) == parent_tag(again, [created], uri=uri)
