"""Who goes on when somebody of a run was killed, and what the record says then."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path

import pytest
from crash_rounds import make_project
from going_run import Going
from journal_lines import write_event
from launch_command import Launch
from server_peer import Server
from victims import process_children
from waiting import eventually

from runtime.store.staging import staging

pytestmark = pytest.mark.requires("overlayfs", "userns")

SLOW = "env.PAUSE_S='0.4'"


@pytest.fixture(scope="module")
def crash_project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_project(tmp_path_factory.mktemp("crash") / "project")


@pytest.fixture
def crashing(session_home: Path, crash_project: Path) -> Launch:
    return Launch(session_home, crash_project)


def test_a_killed_fork_server_is_done_without(crashing: Launch) -> None:
    crashing("build", "experiment=crash", "-q")
    process = crashing.start("experiment=crash", "tracking=none")
    for pid in eventually(lambda: process_children(process.pid)):
        os.kill(pid, signal.SIGKILL)
    out, err = process.communicate(timeout=60)
    assert (0, "begun\ndone\n") == (process.returncode, out), err
    assert ("FINISHED", "completed") == (crashing.record()["status"], crashing.record()["reason"])


def test_a_run_that_is_done_without_its_fork_server_can_be_stopped(crashing: Launch) -> None:
    crashing("build", "experiment=crash", "-q")
    process = crashing.start("experiment=crash", "tracking=none", "env.PAUSE_S='900'")
    for pid in eventually(lambda: process_children(process.pid)):
        os.kill(pid, signal.SIGKILL)
    eventually(lambda: crashing.record()["status"] == "RUNNING")
    crashing("stop", crashing.record()["run_id"])
    process.communicate(timeout=60)
    assert "stopped" == crashing.record()["reason"]


def test_a_killed_init_is_a_lost_run_and_says_why(crashing: Launch) -> None:
    going = Going(crashing, "tracking=none", "env.PAUSE_S='900'")
    os.kill(next(event["init_pid"] for event in going.events() if event["event"] == "started"), signal.SIGKILL)
    record = going.ended(code=125)
    assert ("KILLED", "lost", 125) == (record["status"], record["reason"], record["exit_code"])
    assert "killed from outside" in record["message"]


def test_what_happened_while_nobody_followed_is_in_the_record_and_in_mlflow(crashing: Launch, recorded: Server) -> None:
    going = Going(crashing, SLOW, "env.ENDS='[7]'")
    eventually(lambda: crashing.record(going.run_id)["mlflow_run_id"])
    going.kill_followers()
    eventually((going.run_dir / "outputs/done").exists)
    record = going.ended(code=7)
    assert ("FAILED", "program", 7) == (record["status"], record["reason"], record["exit_code"])
    assert "begun\ndone\n" == (going.run_dir / "stdout.log").read_text()
    known = recorded.run(record["mlflow_run_id"])
    assert ("FAILED", "program", "7") == (known.info["status"], known.tags["launch.reason"], known.tags["launch.exit_code"])
    assert [0, 1, 2, 3] == [step for step, _ in recorded.history(known.info["run_id"], "loss")]


def test_a_new_launch_closes_what_an_earlier_one_lost(crashing: Launch) -> None:
    going = Going(crashing, "tracking=none", "env.PAUSE_S='900'")
    init = next(event["init_pid"] for event in going.events() if event["event"] == "started")
    going.kill_followers()
    os.kill(init, signal.SIGKILL)
    crashing("-q", "experiment=crash", "tracking=none")
    eventually(lambda: "lost" == next((event.get("reason") for event in going.events() if event["event"] == "finished"), None))
    eventually(lambda: not (crashing.home / "active" / going.run_id).exists())


@pytest.mark.parametrize("words", [("ps",), ("-q", "experiment=crash", "tracking=none")], ids=["a look", "a launch"])
def test_what_a_killed_build_left_is_removed_by_the_next_command(crashing: Launch, words: tuple[str, ...]) -> None:
    crashing("build", "experiment=crash")
    left = crashing.home / "store/tmp" / os.urandom(8).hex()
    (left / "usr/lib").mkdir(parents=True)
    with staging(crashing.home / "store/tmp") as of_a_living_build:
        crashing(*words)
        eventually(lambda: not left.exists())
        assert of_a_living_build.exists()


def test_resume_right_after_a_crash_waits_for_the_end_to_be_written_down(crashing: Launch, recorded: Server) -> None:
    going = Going(crashing, "env.PAUSE_S='900'")
    init = next(event["init_pid"] for event in going.events() if event["event"] == "started")
    going.kill_followers()
    os.kill(init, signal.SIGKILL)
    crashing("resume", "-d", going.run_id)
    crashing("kill", going.run_id)
    assert 2 == crashing.record(going.run_id)["attempt"]


def test_a_start_that_was_not_written_down_any_more_is_written_by_the_successor(crashing: Launch) -> None:
    going = Going(crashing, "tracking=none", SLOW)
    going.kill_followers()
    written = going.run_dir / "journal.jsonl"
    lines = written.read_text().splitlines(keepends=True)
    began = next(number for number, line in enumerate(lines) if '"started"' in line)
    written.write_text("".join(lines[:began]) + lines[began][:20])
    crashing("ps")
    record = going.ended(code=0)
    assert ("FINISHED", "completed") == (record["status"], record["reason"])
    assert record["started_at"] is not None
    assert 1 < record["duration_s"] < 30


def test_a_stop_that_a_killed_supervisor_began_is_brought_to_its_end(crashing: Launch) -> None:
    deaf = """command=[sh, -c, 'trap "" TERM; exec python3 crash.py']"""
    going = Going(crashing, "tracking=none", "env.PAUSE_S='900'", "grace=2s", deaf)
    os.kill(int(json.loads((going.run_dir / "supervisor.lock").read_text())["pid"]), signal.SIGTERM)
    eventually(lambda: going.has("stopping"), within_s=2)
    going.kill_followers()
    crashing("ps")
    record = going.ended(code=137)
    assert ("KILLED", "stopped") == (record["status"], record["reason"])


def test_a_stop_that_was_written_down_and_not_done_any_more_is_done_by_the_successor(crashing: Launch) -> None:
    going = Going(crashing, "tracking=none", "env.PAUSE_S='900'", "grace=60s")
    going.kill_followers()
    write_event(going.run_dir / "journal.jsonl", "stopping", reason="stopped", detail=None, at_once=False)
    crashing("ps")
    record = going.ended(code=143)
    assert ("KILLED", "stopped") == (record["status"], record["reason"])
    assert record["duration_s"] < 60, "it heard SIGTERM"


def test_a_taken_over_run_is_tried_again_as_often_as_it_may(crashing: Launch) -> None:
    going = Going(crashing, "tracking=none", "env.PAUSE_S='0.2'", "retries=1", "retry_on=[program]", "env.ENDS='[3, 0]'")
    going.kill_followers()
    record = going.ended(code=0)
    assert ("FINISHED", "completed", 2) == (record["status"], record["reason"], record["attempt"])


def test_the_record_of_an_earlier_attempt_is_not_taken_for_this_ones(crashing: Launch) -> None:
    going = Going(crashing, "tracking=none", "env.PAUSE_S='0.1'", "env.ENDS='[3]'")
    assert 3 == going.ended(code=3)["exit_code"]
    # As it lies there when the supervisor was killed between two attempts.
    written = going.run_dir / "journal.jsonl"
    lines = [line for line in written.read_text().splitlines(keepends=True) if '"finished"' not in line]
    again = json.dumps({"event": "attempt", "at": time.time(), "attempt": 1, "reason": "program", "exit_code": 3})
    written.write_text("".join(lines) + again + "\n")
    (crashing.home / "active" / going.run_id).touch()
    assert ("lost", 125) == ((record := going.ended(code=125))["reason"], record["exit_code"])
