"""Whatever ends a run, or dies beside it, MLflow says so in the end: status, reason, and every metric once."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from launch_command import Launch
from server_peer import Known, Server, stop_server
from waiting import eventually

pytestmark = pytest.mark.requires("overlayfs", "userns")


class Going:
    """A run that logs a metric ten times a second until somebody ends it."""

    def __init__(self, launch: Launch, server: Server) -> None:
        self.launch, self.server = launch, server
        self.process = launch.start("experiment=logs", "params.how=long", stderr=subprocess.DEVNULL)
        assert self.process.stdout is not None
        assert "ready\n" == self.process.stdout.readline()
        self.record = launch.record()
        self.run_dir = Path(self.record["run_dir"])

    def supervisor(self) -> int:
        # Empty for a moment when another one takes over.
        return int(json.loads(eventually((self.run_dir / "supervisor.lock").read_text))["pid"])

    def tracker(self) -> int:
        children = Path(f"/proc/{self.supervisor()}/task/{self.supervisor()}/children").read_text().split()
        return next(int(pid) for pid in children if b"launch-init" not in Path(f"/proc/{pid}/cmdline").read_bytes() != b"")

    def init(self) -> int:
        events = map(json.loads, (self.run_dir / "journal.jsonl").read_text().splitlines())
        return int(next(event["init_pid"] for event in events if event["event"] == "started"))

    def known(self) -> Known:
        return self.server.run(str(self.record["mlflow_run_id"]))

    def steps(self) -> list[int]:
        return [step for step, _ in self.server.history(self.record["mlflow_run_id"], "loss")]

    def goes_on(self) -> None:
        """MLflow gets metrics that were logged after now."""
        reached = len(self.steps())
        eventually(lambda: len(self.steps()) > reached + 2)

    def stop(self) -> Known:
        self.launch("stop", self.record["run_id"])
        self.process.communicate(timeout=30)
        return self.known()


@pytest.fixture
def going(logging_launch: Launch, recorded: Server) -> Iterator[Going]:
    logging_launch("build", "experiment=logs", timeout_s=600)
    run = Going(logging_launch, recorded)
    yield run
    if run.process.poll() is None:
        run.stop()


def ending(known: Known) -> tuple[str, str | None, str | None]:
    return known.info["status"], known.tags.get("launch.reason"), known.tags.get("launch.exit_code")


@pytest.mark.parametrize(
    ("words", "code", "expected"),
    [
        pytest.param(["params.how=short"], 0, ("FINISHED", "completed", "0"), id="success", marks=pytest.mark.any_user),
        pytest.param(["params.how=fail"], 3, ("FAILED", "program", "3"), id="exit code", marks=pytest.mark.any_user),
        pytest.param(
            ["params.how=eat", "memory=128MiB"],
            137,
            ("FAILED", "oom", "137"),
            id="out of memory",
            marks=pytest.mark.requires("cgroup-memory"),
        ),
        pytest.param(
            ["params.how=long", "timeout=4s"],
            124,
            ("FAILED", "timeout", "124"),
            id="timeout",
            marks=pytest.mark.any_user,
        ),
    ],
)
def test_mlflow_has_the_ending(
    logging_launch: Launch, recorded: Server, words: list[str], code: int, expected: tuple[str, str, str]
) -> None:
    logging_launch("experiment=logs", *words, check=code, timeout_s=600)
    known = recorded.run(logging_launch.record()["mlflow_run_id"])
    assert expected == ending(known)
    # On a busy machine a time limit may come before the first metric.
    assert "loss" in known.metrics or expected[1] == "timeout"
    assert (expected[1] == "oom") == (
        "at the memory limit of 128 MiB; the peak of all was" in known.tags.get("launch.message", "")
    )
    assert int(known.tags["launch.peak_process_bytes"]) > 1 << 20
    assert int(known.info["end_time"]) >= int(known.info["start_time"])


@pytest.mark.any_user
def test_a_stopped_run_is_killed_and_mlflow_knows_when_stop_returns(going: Going) -> None:
    assert ("KILLED", "stopped", "143") == ending(going.stop())


@pytest.mark.any_user
def test_an_interrupted_run_is_killed(going: Going) -> None:
    going.process.send_signal(signal.SIGINT)
    going.process.communicate(timeout=30)
    assert ("KILLED", "interrupted", "130") == ending(going.known())


@pytest.mark.any_user
def test_after_a_lost_terminal_metrics_go_on(going: Going) -> None:
    going.process.send_signal(signal.SIGHUP)
    going.process.communicate(timeout=30)
    assert ("RUNNING", None, None) == ending(going.known())
    going.goes_on()
    assert ("KILLED", "stopped", "143") == ending(going.stop())


@pytest.mark.any_user
def test_a_killed_supervisor_is_replaced_without_anybody_asking(going: Going) -> None:
    killed = going.supervisor()
    os.kill(killed, signal.SIGKILL)
    eventually(lambda: going.supervisor() != killed)
    going.goes_on()
    assert ("KILLED", "stopped", "143") == ending(going.stop())
    assert list(range(len(going.steps()))) == going.steps()


@pytest.mark.any_user
def test_a_killed_tracker_is_replaced_and_no_metric_is_lost(going: Going) -> None:
    for _ in range(2):
        os.kill(going.tracker(), signal.SIGKILL)
        going.goes_on()
    going.stop()
    assert list(range(len(going.steps()))) == going.steps()


@pytest.mark.any_user
def test_a_killed_server_is_replaced_and_no_metric_is_lost(going: Going) -> None:
    published = going.launch.home / "mlflow/server.json"
    killed = json.loads(published.read_text())["pid"]
    os.kill(killed, signal.SIGKILL)
    eventually(lambda: json.loads(published.read_text())["pid"] != killed)
    going.server.client.close()
    going.goes_on()
    assert ("KILLED", "stopped", "143") == ending(going.stop())
    assert list(range(len(going.steps()))) == going.steps()


@pytest.mark.any_user
def test_a_run_whose_processes_were_all_killed_is_lost_without_anybody_asking(going: Going) -> None:
    os.kill(going.supervisor(), signal.SIGKILL)
    os.kill(going.init(), signal.SIGKILL)
    going.process.communicate(timeout=30)
    eventually(lambda: going.known().info["status"] == "KILLED")
    assert ("KILLED", "lost", "125") == ending(going.known())


@pytest.mark.any_user
def test_a_run_of_which_nothing_is_left_is_closed_by_the_next_command(going: Going) -> None:
    os.kill(going.tracker(), signal.SIGSTOP)
    doomed = [going.tracker(), going.supervisor(), going.init()]
    for pid in doomed:
        os.kill(pid, signal.SIGKILL)
    going.process.communicate(timeout=30)
    going.launch("wait", going.record["run_id"], check=125)
    assert ("KILLED", "lost", "125") == ending(going.known())


@pytest.mark.any_user
@pytest.mark.parametrize("experiment", ["logs", "plain"])
def test_a_server_that_is_down_is_started_and_the_run_recorded(logging_launch: Launch, recorded: Server, experiment: str) -> None:
    stop_server(recorded.state)
    recorded.client.close()
    words = ["params.how=short"] if experiment == "logs" else []
    logging_launch(f"experiment={experiment}", *words, timeout_s=600)
    # A busy machine starts it in more time than a run gives it at its end: the tracker sends the record later then.
    run_id = eventually(lambda: logging_launch.record()["mlflow_run_id"], "a run in MLflow")
    eventually(lambda: ending(recorded.run(run_id)) == ("FINISHED", "completed", "0"), lambda: ending(recorded.run(run_id)))
    assert "loss" in recorded.run(run_id).metrics


def _reports_to_a_sweep(record: dict[str, Any]) -> bool:
    return record["parent_run_id"] is not None and record["exit_code"] is None and "loss" in record["metrics"]


@pytest.mark.any_user
def test_a_killed_sweep_is_lost_while_its_trials_go_on(logging_launch: Launch, recorded: Server) -> None:
    words = ("experiment=logs", "params.how=long", "params.lr=0.1,0.2", "sweep.parallel=1")
    process = logging_launch.start("-m", *words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    trial = eventually(lambda: next(filter(_reports_to_a_sweep, logging_launch.runs()), None))
    parent = logging_launch.record(trial["parent_run_id"])
    os.kill(json.loads((Path(parent["run_dir"]) / "supervisor.lock").read_text())["pid"], signal.SIGKILL)
    process.communicate(timeout=30)
    try:
        eventually(lambda: recorded.run(parent["mlflow_run_id"]).info["status"] == "KILLED")
        assert ("KILLED", "lost", "125") == ending(recorded.run(parent["mlflow_run_id"]))
        assert "RUNNING" == recorded.run(trial["mlflow_run_id"]).info["status"]
    finally:
        logging_launch("stop", trial["run_id"])
    assert ("KILLED", "stopped", "143") == ending(recorded.run(trial["mlflow_run_id"]))


@pytest.mark.any_user
def test_a_second_attempt_logs_to_the_same_run(logging_launch: Launch, recorded: Server) -> None:
    logging_launch("experiment=logs", "params.how=fail", "retries=1", "retry_on=[program]", check=3, timeout_s=600)
    known = recorded.run(logging_launch.record()["mlflow_run_id"])
    assert ("2", "FAILED", 2) == (
        known.tags["launch.attempt"],
        known.info["status"],
        len(recorded.history(known.info["run_id"], "loss")),
    )
