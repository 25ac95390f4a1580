"""The experiments that launch ships, as the README runs them, recorded in a real MLflow server."""

from __future__ import annotations

import json
import urllib.request
from pathlib import Path

import pytest
from launch_command import Launch

pytestmark = [pytest.mark.any_user, pytest.mark.requires("overlayfs", "userns")]


@pytest.fixture
def shipped(session_home: Path, tmp_path: Path) -> Launch:
    """Away from any project: only what is shipped."""
    return Launch(session_home, tmp_path)


def test_digits_trains_and_is_recorded_in_mlflow(shipped: Launch) -> None:
    done = shipped("experiment=digits", "params.epochs=2", timeout_s=600)
    record = shipped.record()
    assert record["status"] == "FINISHED"
    assert record["metrics"]["val_accuracy"] > 0.5
    assert record["mlflow_run_id"] in done.stderr
    base = shipped("ui").stdout.strip()
    with urllib.request.urlopen(f"{base}/api/2.0/mlflow/runs/get?run_id={record['mlflow_run_id']}") as answer:
        run = json.load(answer)["run"]
    assert run["info"]["status"] == "FINISHED"
    assert {param["key"]: param["value"] for param in run["data"]["params"]}["epochs"] == "2"
    assert {metric["key"] for metric in run["data"]["metrics"]} >= {"val_accuracy", "loss"}
    tags = {tag["key"]: tag["value"] for tag in run["data"]["tags"]}
    assert tags["launch.run_id"] == record["run_id"]
    assert tags["launch.image_digest"] == record["image_digest"]


def test_a_second_launch_builds_nothing(shipped: Launch) -> None:
    shipped("build", "experiment=digits", timeout_s=600)
    again = json.loads(shipped("build", "experiment=digits", "--json").stdout)
    assert 0 == again["built"]
    assert again["cached"] > 10


def test_one_more_requirement_is_one_more_layer(shipped: Launch) -> None:
    shipped("build", "experiment=digits", timeout_s=600)
    built = json.loads(shipped("build", "experiment=digits", "--with", "humanize", "--json", timeout_s=600).stdout)
    assert ["humanize"] == [layer["label"].split()[0] for layer in built["layers"] if not layer["cached"]]
    program = ("--", "python3", "-c", "import humanize; print(humanize.__name__)")
    assert shipped("experiment=digits", "--with", "humanize", *program).stdout == "humanize\n"


def test_two_builds_from_empty_stores_give_the_same_image(session_home: Path, probe_project: Path, tmp_path: Path) -> None:
    first = json.loads(Launch(session_home, probe_project)("build", "experiment=probe", "--json", timeout_s=600).stdout)
    second = json.loads(Launch(tmp_path / "home", probe_project)("build", "experiment=probe", "--json", timeout_s=600).stdout)
    assert first["image_digest"] == second["image_digest"]
    assert second["built"] > 0
