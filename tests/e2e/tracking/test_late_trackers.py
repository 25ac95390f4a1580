"""A trial that is over in a moment has no tracker: a process that all trials share sends its record, or else its own one does."""

from __future__ import annotations

import json
import os
import select
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from journal_lines import write_event
from server_peer import Server
from tracked_run import new_run

from launcher.run.start.sender import Sender
from launcher.run.supervisor.late_tracker import LATE_S, LateTracker, tracker_when_needed
from launcher.run.supervisor.tracker_process import TrackerProcess
from runtime.file_lock import is_locked, locked
from runtime.state_dir import RunDir

METRICS = {"tensorboard": False, "patterns": {}}


def eventually(holds: Callable[[], object]) -> bool:
    deadline = time.monotonic() + 10
    while not holds():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True


def senders() -> list[int]:
    """Children of ours that are leaders of a session: trackers are not."""
    children = Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
    return [int(pid) for pid in children if os.getsid(int(pid)) == int(pid)]


@pytest.fixture
def sender() -> Iterator[Sender]:
    before = set(senders())
    made = Sender.fork()
    assert eventually(lambda: set(senders()) - before)
    (pid,) = set(senders()) - before
    yield made
    os.close(made.fd)
    try:
        assert eventually(lambda: os.waitpid(pid, os.WNOHANG)[0]), "it ends with the last who could ask"
    except AssertionError:
        os.kill(pid, signal.SIGKILL)
        raise


def trial(server: Server, *, packages: tuple[str, ...] = ("numpy",), **metrics: object) -> RunDir:
    return new_run(server.state, packages=packages, metrics={**METRICS, **metrics})


def ended(run_dir: RunDir, tracker: TrackerProcess) -> RunDir:
    """As a supervisor ends a run."""
    write_event(run_dir.journal, "finished", reason="completed", exit_code=0, usage={})
    tracker.finish()
    return run_dir


def begun(tracker: TrackerProcess) -> bool:
    return tracker.pid > 0


def test_a_short_trial_is_sent_without_a_tracker(server: Server, sender: Sender) -> None:
    run_dir = trial(server)
    tracker = tracker_when_needed(run_dir, sender)
    known = tracker.wait_ready(timeout_s=5)
    run_dir.metrics.write_text('{"step": 3, "loss": 0.5}\n')
    ended(run_dir, tracker)
    assert not begun(tracker)
    assert "FINISHED" == server.of(run_dir).info["status"]
    assert [(3, 0.5)] == server.history(known["mlflow"]["run_id"], "loss")
    assert {"loss": 0.5} == json.loads(run_dir.last_metrics.read_text())


def test_one_that_lasts_has_a_tracker(server: Server, sender: Sender) -> None:
    run_dir = trial(server)
    tracker = tracker_when_needed(run_dir, sender)
    told = tracker.wait_ready(timeout_s=5)
    assert select.select([tracker.pidfd], [], [], 5 * LATE_S)[0], "the timer"
    assert tracker.replace()
    assert begun(tracker)
    ended(run_dir, tracker)
    assert told["mlflow"]["run_id"] == server.of(run_dir).info["run_id"]
    assert told["token"] == json.loads(run_dir.tracker_state.read_text())["token"]


def test_a_killed_sender_costs_no_record(server: Server) -> None:
    before = set(senders())
    sender = Sender.fork()
    assert eventually(lambda: set(senders()) - before)
    waiting, later = trial(server), trial(server)
    tracker = tracker_when_needed(waiting, sender)
    with locked(waiting.root / "tracker.lock"):  # it finds the record in other hands, and leaves it
        sender.send(waiting)
    for pid in set(senders()) - before:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    for run_dir, its in ((waiting, tracker), (later, tracker_when_needed(later, sender))):
        ended(run_dir, its)
        assert begun(its)
        assert "FINISHED" == server.of(run_dir).info["status"]
    os.close(sender.fd)


def test_a_sender_holds_nothing_of_a_trial(server: Server) -> None:
    """Neither the lock that was open when it was forked, nor the files of runs that it has sent."""
    run_dir, before = trial(server), set(senders())
    with locked(run_dir.supervisor_lock):
        sender = Sender.fork()
    assert eventually(lambda: not is_locked(run_dir.supervisor_lock))
    for _ in range(3):
        sent = trial(server)
        ended(sent, tracker_when_needed(sent, sender))
    (pid,) = set(senders()) - before
    held = [os.readlink(fd) for fd in Path(f"/proc/{pid}/fd").iterdir()]
    assert not [path for path in held if str(server.state.root) in path]
    os.close(sender.fd)
    os.waitpid(pid, 0)


@pytest.mark.parametrize(
    ("packages", "metrics"),
    [
        pytest.param(("mlflow",), {}, id="MLflow's client"),
        pytest.param(("numpy",), {"tensorboard": True}, id="event files"),
        pytest.param(("numpy",), {"patterns": {"loss": "loss=(.*)"}}, id="patterns"),
    ],
)
def test_who_may_need_a_tracker_has_one_from_the_beginning(
    server: Server, sender: Sender, packages: tuple[str, ...], metrics: dict[str, object]
) -> None:
    run_dir = trial(server, packages=packages, **metrics)
    tracker = tracker_when_needed(run_dir, sender)
    assert not isinstance(tracker, LateTracker)
    ended(run_dir, tracker)
