"""Clients of MLflow 2 log as those of MLflow 3 do (test_mlflow.py), and the network mode makes no difference."""

from __future__ import annotations

import pytest
from launch_command import Launch
from server_peer import Server

pytestmark = pytest.mark.requires("overlayfs", "userns")

OLDER = "image.requirements=['mlflow-skinny<3']"


@pytest.mark.requires("patience")
def test_a_client_of_mlflow_2_logs_to_its_run(logging_launch: Launch, recorded: Server) -> None:
    logging_launch("experiment=logs", "params.how=short", OLDER, timeout_s=600)
    other = logging_launch.record()["mlflow_run_id"]
    logging_launch("experiment=logs", f"env.OTHER_RUN={other}", OLDER)
    known = recorded.run(logging_launch.record()["mlflow_run_id"])
    run_id = known.info["run_id"]
    assert {"lr": "0.1", "how": "everything", "opt.name": "adam", "opt.layers": "[3, 4]", "depth": "3"} == known.params
    assert ("FINISHED", "0.2", "yes") == (known.info["status"], known.tags["launch.logged.lr"], known.tags["mine"])
    assert [(0, 1.0), (1, 1 / 2), (2, 1 / 3)] == recorded.history(run_id, "loss")
    assert [(1, "NaN")] == recorded.history(run_id, "broken")
    assert 1 << 20 == recorded.artifacts(run_id)["model/weights.bin"]
    below = [recorded.run(each) for each in recorded.runs_of(known.info["experiment_id"])]
    children = {run.info["run_name"]: run for run in below if run.tags.get("mlflow.parentRunId") == run_id}
    assert {"fold": {"inner": 5.0}, "second": {"second_loss": 2.0}} == {name: run.metrics for name, run in children.items()}


@pytest.mark.parametrize(
    "network",
    [
        pytest.param("host"),
        pytest.param("bridge", marks=pytest.mark.requires("root", "bridge")),
        pytest.param("pasta", marks=pytest.mark.requires("pasta")),
    ],
)
def test_a_program_logs_whatever_its_network(logging_launch: Launch, recorded: Server, network: str) -> None:
    logging_launch("experiment=logs", "params.how=short", f"network={network}", timeout_s=600)
    known = recorded.run(logging_launch.record()["mlflow_run_id"])
    assert ("FINISHED", 1.0) == (known.info["status"], known.metrics["loss"])
