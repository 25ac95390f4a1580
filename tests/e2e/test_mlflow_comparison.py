"""The comparison of MLflow with the journals sees what it is there for: each thing that is changed in MLflow is named."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from launch_command import Launch
from mlflow_comparison import untruths_of_mlflow
from server_peer import Server

from runtime.state_dir import StateDir

pytestmark = [pytest.mark.any_user, pytest.mark.requires("overlayfs", "userns")]


def log_another_point(server: Server, run_id: str, directory: Path) -> None:
    server.client.post("runs/log-metric", {"run_id": run_id, "key": "loss", "value": 9.5, "timestamp": 1, "step": 7})


def call_it_failed(server: Server, run_id: str, directory: Path) -> None:
    server.client.update_run(run_id, status="FAILED", end_ms=1)


def give_another_reason(server: Server, run_id: str, directory: Path) -> None:
    server.client.post("runs/set-tag", {"run_id": run_id, "key": "launch.reason", "value": "stopped"})


def change_an_output(server: Server, run_id: str, directory: Path) -> None:
    (directory / "result.txt").write_text("43\n")


def lose_a_log(server: Server, run_id: str, directory: Path) -> None:
    (directory / "logs/stdout.txt").unlink()


def call_another_run_so(server: Server, run_id: str, directory: Path) -> None:
    run = server.run(run_id)
    tags = {"launch.run_id": run.tags["launch.run_id"]}
    server.client.create_run(run.info["experiment_id"], name="twin", start_ms=1, tags=tags, user="eve")


def test_what_is_not_so_in_mlflow_is_named(launch: Launch, recorded: Server) -> None:
    launch("experiment=probe", "tracking={}")
    record = launch.record()
    state, run_id = StateDir(launch.home), str(record["mlflow_run_id"])
    directory = state.mlflow / "artifacts" / recorded.run(run_id).info["experiment_id"] / run_id / "artifacts"

    def found() -> str:
        return "\n".join(untruths_of_mlflow(state, [str(record["run_id"])]))

    assert "" == found()
    changes: list[tuple[Callable[[Server, str, Path], None], str]] = [
        (log_another_point, "`loss`, and has 1 points"),
        (call_it_failed, "MLflow says FAILED, the journal FINISHED"),
        (give_another_reason, "MLflow says that it ended as ('stopped', '0'"),
        (change_an_output, "the artifact `result.txt` is not what the run has"),
        (lose_a_log, "MLflow lacks the artifact `logs/stdout.txt`"),
        (call_another_run_so, "MLflow has 2 runs of it"),
    ]
    for change, words in changes:
        change(recorded, run_id, directory)
        assert words in found()
