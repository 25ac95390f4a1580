"""What a run goes through in its tracker."""

from __future__ import annotations

import shutil
import socket
from contextlib import suppress
from pathlib import Path

import pytest
from journal_lines import write_event
from waiting import eventually

from launcher.journal.superseded import Superseded
from launcher.tracking import tracker_protocol
from launcher.tracking.metrics.system_sampler import SystemSampler
from launcher.tracking.mlflow.description import Description, write_description
from launcher.tracking.tracked_run import TrackedRun
from launcher.tracking.tracker_loop import Tracker
from runtime.cgroup.limits import Usage
from runtime.cgroup.oom import OomKills
from runtime.state_dir import RunDir, StateDir


@pytest.fixture
def run_dir(run_dir: RunDir) -> RunDir:
    write_event(run_dir.journal, "created", run_id=run_dir.run_id)
    return run_dir


def described(uri: str | None) -> Description:
    return Description("digits", "digits", "ada", 0, uri=uri, may_use_mlflow=False)


class Tracked:
    """A run whose thread has opened it, and the supervisor's end of its channel."""

    def __init__(self, run_dir: RunDir, *, uri: str | None = "http://127.0.0.1:9") -> None:
        write_description(run_dir, described(uri))
        self.supervisor, channel = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.run = TrackedRun(run_dir, channel, wake_tracker=lambda: None)
        self.run.start()
        assert self.says().startswith(tracker_protocol.READY)

    def says(self) -> bytes:
        """The next message; READY is said when somebody looks, or MLflow has answered."""
        self.supervisor.settimeout(0.01)
        for _ in range(1000):
            self.run.poll(1e9)
            try:
                return self.supervisor.recv(tracker_protocol.MESSAGE_MAX)
            except TimeoutError:
                continue
        raise AssertionError("it says nothing")

    def end(self) -> None:
        self.run.finish()
        self.run.join(20)
        assert tracker_protocol.LEFT == self.says()


@pytest.mark.parametrize("in_the_way", ["system.jsonl", "journal.jsonl"])
def test_a_sample_that_finds_no_room_ends_no_tracker(run_dir: RunDir, in_the_way: str) -> None:
    tracked = Tracked(run_dir)
    looks = 0

    def usage() -> Usage:
        nonlocal looks
        looks += 1
        return Usage(cpu_s=1.0, memory_bytes=5, oom_kills=looks)

    described = Description("digits", "digits", "ada", 0, system_interval_s=0.01)
    tracked.run._sampler = SystemSampler(
        run_dir, described, tracked.run.journal, read=usage, oom_kills=lambda: OomKills(1), traffic=lambda: None
    )
    (run_dir.root / in_the_way).unlink(missing_ok=True)
    (run_dir.root / in_the_way).mkdir()
    while looks < 3:
        tracked.run.poll(1e9)
    (run_dir.root / in_the_way).rmdir()
    tracked.end()


def test_a_run_begins_when_its_tracker_is_given_it_and_not_when_that_looks_next(run_dir: RunDir) -> None:
    server, control = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    supervisor, channel = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    tracker = Tracker(control)
    tracker.add_run(run_dir, channel)
    supervisor.settimeout(20)
    assert tracker_protocol.READY + b'{"mlflow": null}' == supervisor.recv(tracker_protocol.MESSAGE_MAX)
    supervisor.send(tracker_protocol.END)
    server.close()
    assert tracker.serve()


def test_words_that_find_no_room_leave_the_tracker_to_what_else_it_has_to_do(run_dir: RunDir) -> None:
    tracked = Tracked(run_dir)
    eventually(lambda: _is_made_directory(run_dir.tracker_state))
    tracked.end()
    assert "cannot reach" in run_dir.supervisor_log.read_text()


def _is_made_directory(path: Path) -> bool:
    """Whether *path*, a file that a thread may write at any moment, is a directory now."""
    path.unlink(missing_ok=True)
    with suppress(FileExistsError):
        path.mkdir()
    return path.is_dir()


@pytest.mark.parametrize("removed", [False, True])
def test_nobody_starts_a_server_for_a_run_that_was_removed(
    run_dir: RunDir, removed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[StateDir] = []
    monkeypatch.setattr("launcher.tracking.mlflow.local_server.start_in_background", started.append)
    home = run_dir.root.parents[1]
    tracked = Tracked(run_dir, uri=None)
    if removed:
        shutil.rmtree(home)
        tracked.run.join(1.2)  # from here on only who looks for the directory could start one
        started.clear()
    tracked.end()
    assert (set() if removed else {StateDir(home)}) == set(started)


def test_one_that_goes_on_elsewhere_is_left_without_a_word_to_mlflow(run_dir: RunDir) -> None:
    for placement in ("17.0", "17.1"):
        write_event(run_dir.journal, "placed", placement=placement, job="17")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setblocking(False)
        write_description(run_dir, described(f"http://127.0.0.1:{listener.getsockname()[1]}"))
        supervisor, channel = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        run = TrackedRun(run_dir, channel, token="17.0", wake_tracker=lambda: None)
        run.start()
        run.join(20)
        assert tracker_protocol.LEFT == supervisor.recv(tracker_protocol.MESSAGE_MAX)
        with pytest.raises(BlockingIOError):
            listener.accept()
        with pytest.raises(Superseded):
            run.poll(0.0)
