"""The tracker as its supervisor sees it."""

from __future__ import annotations

import os
import resource
import select
import signal
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from journal_lines import write_event

from launcher.run import active
from launcher.run.start.sender import Sender
from launcher.run.supervisor.late_tracker import LateTracker
from launcher.run.supervisor.tracker_process import start_tracker
from launcher.tracking.metrics.metric_log import read_entries
from launcher.tracking.mlflow.description import Description, write_description
from runtime.kernel.libc import timer
from runtime.state_dir import RunDir, StateDir


@pytest.fixture
def run_dir(tmp_path: Path) -> RunDir:
    run_dir = active.new_run(StateDir(tmp_path / "home").ensure())
    write_event(run_dir.journal, "created", run_id=run_dir.run_id)
    return run_dir


@contextmanager
def full_disk() -> Iterator[None]:
    """No file of ours may have any content more, nor of a child that is forked meanwhile."""
    room = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, room[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, room)


def ends_within(tracker_fd: int, seconds: float) -> bool:
    return bool(select.select([tracker_fd], [], [], seconds)[0])


def test_a_disk_that_is_full_when_it_begins_ends_no_tracker(run_dir: RunDir) -> None:
    write_description(run_dir, Description("digits", "digits", "ada", 0, uri="http://127.0.0.1:9", may_use_mlflow=False))
    with full_disk():
        tracker = start_tracker(run_dir)
    try:
        assert tracker.wait_ready(timeout_s=10).get("token"), "it serves the program"
        tracker.catch_up()
        assert not ends_within(tracker.pidfd, 0.3)
    finally:
        os.kill(tracker.pid, signal.SIGKILL)
        tracker._release()


def test_what_ends_trackers_at_once_may_be_over_when_the_next_but_one_begins(run_dir: RunDir) -> None:
    lock = run_dir.root / "tracker.lock"
    lock.mkdir()
    tracker = start_tracker(run_dir)
    assert ends_within(tracker.pidfd, 5)
    assert tracker.replace()
    assert ends_within(tracker.pidfd, 1), "the first successor begins at once: mostly somebody has killed the tracker"
    assert tracker.replace()
    lock.rmdir()
    tracker.catch_up()
    write_event(run_dir.journal, "finished", reason="completed", exit_code=0, usage={})
    run_dir.metrics.write_text('{"loss": 0.5}\n')
    tracker.finish()
    assert [0.5] == [entry["value"] for entry in read_entries(run_dir.logged)]
    assert 2 == tracker.successors


def test_a_tracker_that_begins_at_the_end_is_handed_nothing_in_the_listeners_place(run_dir: RunDir, tmp_path: Path) -> None:
    nobody, also_nobody = socket.socketpair()
    also_nobody.close()
    tracker = LateTracker(run_dir, -1, timer(60), -1, nobody, -1, sender=Sender(-1))
    listener = os.open(tmp_path, os.O_RDONLY)
    tracker.hand_listener(listener)  # by the end it is closed, and something else has its number
    write_event(run_dir.journal, "finished", reason="completed", exit_code=0, usage={})
    run_dir.metrics.write_text('{"loss": 0.5}\n')
    tracker.finish()
    os.close(listener)
    assert [0.5] == [entry["value"] for entry in read_entries(run_dir.logged)]


def test_a_tracker_that_is_killed_while_it_sends_the_rest_is_replaced(run_dir: RunDir) -> None:
    tracker = start_tracker(run_dir)
    os.kill(tracker.pid, signal.SIGSTOP)
    run_dir.metrics.write_text('{"loss": 0.5}\n')
    killer = os.fork()
    if killer == 0:
        time.sleep(0.2)
        os.kill(tracker.pid, signal.SIGKILL)
        os._exit(0)
    tracker.finish()
    os.waitpid(killer, 0)
    assert [0.5] == [entry["value"] for entry in read_entries(run_dir.logged)]
    assert 1 == tracker.successors
