"""The tracker as its supervisor sees it."""

from __future__ import annotations

import json
import os
import resource
import select
import signal
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from journal_lines import write_event
from waiting import eventually

from launcher.journal.run_journal import read_state
from launcher.run.start.create_run import new_run_dir
from launcher.run.supervisor.signal_inbox import SignalInbox
from launcher.run.supervisor.tracker_process import TrackerProcess, fork_shared_tracker, may_share_tracker
from launcher.tracking import tracker_protocol
from launcher.tracking.lack import warnings
from launcher.tracking.metrics.metric_log import read_entries
from launcher.tracking.mlflow.description import Description, write_description
from runtime.file_lock import is_locked, locked
from runtime.state_dir import RunDir, StateDir


@pytest.fixture
def run_dir(tmp_path: Path) -> RunDir:
    return a_run(tmp_path)


def a_run(tmp_path: Path) -> RunDir:
    run_dir = new_run_dir(StateDir(tmp_path / "home").ensure())
    write_event(run_dir.journal, "created", run_id=run_dir.run_id)
    return run_dir


def end(run_dir: RunDir, its: TrackerProcess) -> None:
    """As a supervisor ends a run that reported something at its very end."""
    write_event(run_dir.journal, "finished", reason="completed", exit_code=0, usage={})
    run_dir.metrics.write_text('{"loss": 0.5}\n')
    its.finish()


def is_taken_in(run_dir: RunDir) -> bool:
    return [0.5] == [entry["value"] for entry in read_entries(run_dir.logged)]


def tracked_at(run_dir: RunDir, uri: str) -> RunDir:
    write_description(run_dir, Description("digits", "digits", "ada", 0, uri=uri, may_use_mlflow=False))
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


def speaks_within(its: TrackerProcess, seconds: float) -> bool:
    return bool(select.select([its.fd], [], [], seconds)[0])


def children() -> set[int]:
    return set(map(int, Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()))


def held(pid: int) -> list[str]:
    """What the descriptors of the process lead to."""
    found = []
    for fd in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(FileNotFoundError):
            found.append(os.readlink(fd))
    return found


class Shared:
    """A tracker for many runs."""

    def __init__(self) -> None:
        self.tracker = fork_shared_tracker()
        self.control, self.pid = self.tracker.control, self.tracker.pid

    def kill(self) -> None:
        with suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)


@pytest.fixture
def shared() -> Iterator[Shared]:
    """Ends when the last has gone who could give it a run."""
    made = Shared()
    yield made
    made.control.close()
    ended = eventually(lambda: os.waitid(os.P_PID, made.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT))
    made.kill()
    assert ended


def test_a_disk_that_is_full_when_it_begins_ends_no_tracker(run_dir: RunDir) -> None:
    tracked_at(run_dir, "http://127.0.0.1:9")
    with full_disk():
        its = TrackerProcess(run_dir)
    try:
        assert its.wait_ready(timeout_s=10).get("token"), "it serves the program"
        its.catch_up()
        assert not speaks_within(its, 0.3)
    finally:
        its._release()


def test_what_ends_trackers_at_once_may_be_over_when_the_next_but_one_begins(run_dir: RunDir) -> None:
    lock = run_dir.root / "tracker.lock"
    lock.mkdir()
    its = TrackerProcess(run_dir)
    assert speaks_within(its, 5)
    its.take_in()
    assert speaks_within(its, 1), "the first successor begins at once: mostly somebody has killed the tracker"
    its.take_in()
    lock.rmdir()
    its.catch_up()
    end(run_dir, its)
    assert is_taken_in(run_dir)
    assert 2 == its.successors


def test_a_successor_at_the_end_is_handed_nothing_in_the_listeners_place(run_dir: RunDir, tmp_path: Path) -> None:
    its = TrackerProcess(run_dir)
    listener = os.open(tmp_path, os.O_RDONLY)
    its.hand_listener(listener)  # by the end it is closed, and something else has its number
    assert its.pid is not None
    os.kill(its.pid, signal.SIGKILL)
    end(run_dir, its)
    os.close(listener)
    assert is_taken_in(run_dir)


def test_a_tracker_that_is_killed_while_it_sends_the_rest_is_replaced(run_dir: RunDir) -> None:
    its = TrackerProcess(run_dir)
    assert its.pid is not None
    os.kill(its.pid, signal.SIGSTOP)
    killer = os.fork()
    if killer == 0:
        time.sleep(0.2)
        os.kill(its.pid, signal.SIGKILL)
        os._exit(0)
    end(run_dir, its)
    os.waitpid(killer, 0)
    assert is_taken_in(run_dir)
    assert 1 == its.successors


def test_a_tracker_that_was_stopped_is_not_waited_for(run_dir: RunDir) -> None:
    its = TrackerProcess(run_dir)
    assert its.pid is not None
    os.kill(its.pid, signal.SIGSTOP)
    its.catch_up()
    end(run_dir, its)
    assert is_taken_in(run_dir)
    assert 1 == its.successors


def test_a_shared_tracker_that_was_stopped_holds_up_no_end(tmp_path: Path) -> None:
    shared, (ending, starting) = Shared(), (a_run(tmp_path) for _ in range(2))
    its = TrackerProcess(ending, shared=shared.tracker)
    its.wait_ready(timeout_s=10)
    os.kill(shared.pid, signal.SIGSTOP)
    late = TrackerProcess(starting, shared=shared.tracker)
    began = time.monotonic()
    end(ending, its)
    end(starting, late)
    assert time.monotonic() - began < 10, "and not half a minute, or ten"
    assert is_taken_in(ending)
    assert is_taken_in(starting)
    shared.control.close()
    os.waitpid(shared.pid, 0)


def test_who_asks_for_the_end_of_the_sending_has_it_at_once(run_dir: RunDir) -> None:
    """Ctrl-C and SIGTERM, while a server says nothing. What was asked of the run before does not count."""
    silent = socket.create_server(("127.0.0.1", 0))
    tracked_at(run_dir, f"http://127.0.0.1:{silent.getsockname()[1]}")
    supervisor = os.fork()
    if supervisor == 0:
        inbox = SignalInbox([signal.SIGINT])
        its = TrackerProcess(run_dir)
        write_event(run_dir.journal, "finished", reason="completed", exit_code=0, usage={})
        os.kill(os.getpid(), signal.SIGINT)
        os._exit(1 if its.finish(inbox) or its.pid is not None else 0)
    connection, _ = silent.accept()
    time.sleep(1)
    assert (0, 0) == os.waitpid(supervisor, os.WNOHANG), "it waits for the server's answer"
    asked_at = time.monotonic()
    os.kill(supervisor, signal.SIGINT)
    assert 0 == os.waitstatus_to_exitcode(os.waitpid(supervisor, 0)[1])
    assert time.monotonic() - asked_at < 5, "a request may take ten"
    connection.close()
    silent.close()


def test_runs_that_share_a_tracker_have_no_process_of_their_own(tmp_path: Path, shared: Shared) -> None:
    runs, before = [a_run(tmp_path) for _ in range(3)], children()
    trackers = [TrackerProcess(run_dir, shared=shared.tracker) for run_dir in runs]
    assert before == children()
    for run_dir, its in zip(runs, trackers, strict=True):
        end(run_dir, its)
    assert all(map(is_taken_in, runs))


def test_a_shared_tracker_that_is_killed_leaves_each_run_to_one_of_its_own(tmp_path: Path) -> None:
    shared = Shared()
    before, during, after = (a_run(tmp_path) for _ in range(3))
    its = TrackerProcess(before, shared=shared.tracker)
    os.kill(shared.pid, signal.SIGSTOP)
    unread = TrackerProcess(during, shared=shared.tracker)
    shared.kill()
    for run_dir, each in ((before, its), (during, unread), (after, TrackerProcess(after, shared=shared.tracker))):
        end(run_dir, each)
        assert is_taken_in(run_dir)
    assert 1 == its.successors


def test_a_shared_tracker_is_given_no_run_when_it_does_not_keep_up(run_dir: RunDir, shared: Shared) -> None:
    os.kill(shared.pid, signal.SIGSTOP)
    with suppress(BlockingIOError):
        while True:
            shared.control.send(b"a run that has died since")
    end(run_dir, TrackerProcess(run_dir, shared=shared.tracker))
    os.kill(shared.pid, signal.SIGCONT)
    assert is_taken_in(run_dir)


def test_a_shared_tracker_holds_nothing_of_a_run_that_has_ended(tmp_path: Path, run_dir: RunDir) -> None:
    """Neither the lock that was open when it was forked, nor the files of runs that it had."""
    with locked(run_dir.supervisor_lock):
        shared = Shared()
    assert eventually(lambda: not is_locked(run_dir.supervisor_lock))
    for _ in range(3):
        sent = a_run(tmp_path)
        listener = socket.create_server(("127.0.0.1", 0))
        its = TrackerProcess(sent, shared=shared.tracker)
        its.hand_listener(listener.fileno())
        end(sent, its)
        listener.close()
    assert eventually(lambda: 1 == len([path for path in held(shared.pid) if path.startswith("socket:")])), "that for runs"
    assert not [path for path in held(shared.pid) if str(tmp_path) in path]
    shared.kill()


def test_a_run_whose_supervisor_was_killed_is_given_another_one_once(run_dir: RunDir, shared: Shared) -> None:
    orphan = os.fork()
    if orphan == 0:
        TrackerProcess(run_dir, shared=shared.tracker)
        os._exit(0)
    os.waitpid(orphan, 0)
    assert eventually(lambda: read_state(run_dir.journal).is_over), "by the one that was called"
    assert 1 == read_state(run_dir.journal).orphaned


def test_a_server_that_says_nothing_holds_up_one_run_and_no_other(tmp_path: Path) -> None:
    shared, other = Shared(), a_run(tmp_path)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        waiting = tracked_at(a_run(tmp_path), f"http://127.0.0.1:{silent.getsockname()[1]}")
        held_up = TrackerProcess(waiting, shared=shared.tracker)
        write_event(waiting.journal, "finished", reason="completed", exit_code=0, usage={})
        held_up._send(tracker_protocol.END)
        silent.accept()
        began = time.monotonic()
        end(other, TrackerProcess(other, shared=shared.tracker))
        assert time.monotonic() - began < 2
    shared.kill()
    assert is_taken_in(other)


def test_a_listener_that_listens_no_more_ends_no_tracker(run_dir: RunDir) -> None:
    its = TrackerProcess(tracked_at(run_dir, "http://127.0.0.1:9"))
    assert its.wait_ready(timeout_s=10).get("token")
    with socket.socket() as listener:
        its.hand_listener(listener.fileno())
        assert not speaks_within(its, 0.5)
    its._release()


def test_what_goes_wrong_with_one_run_is_no_other_runs_affair(run_dir: RunDir, tmp_path: Path, shared: Shared) -> None:
    other = a_run(tmp_path)
    its, others = (TrackerProcess(each, shared=shared.tracker) for each in (run_dir, other))
    listener = os.open(tmp_path, os.O_RDONLY)  # nothing that anybody could connect to
    its.hand_listener(listener)
    os.close(listener)
    assert speaks_within(its, 10)
    end(run_dir, its)
    end(other, others)
    assert is_taken_in(run_dir)
    assert is_taken_in(other)
    assert (1, 0) == (its.successors, others.successors)


def test_a_bug_leaves_its_traceback_with_the_run(run_dir: RunDir, shared: Shared) -> None:
    run_dir.tracking.write_text("{}")
    its = TrackerProcess(run_dir, shared=shared.tracker)
    write_event(run_dir.journal, "finished", reason="completed", exit_code=0, usage={})
    its.finish()
    assert "KeyError: 'keep'" in run_dir.supervisor_log.read_text()


def test_a_warning_of_a_short_trial_is_told_at_its_end(run_dir: RunDir, shared: Shared) -> None:
    run_dir.metrics.write_text('{"loss": 1}\nloss=2\n')
    its = TrackerProcess(tracked_at(run_dir, "databricks://us"), shared=shared.tracker)  # refused at once
    write_event(run_dir.journal, "finished", reason="completed", exit_code=0, usage={})
    its.finish()
    assert "a line that cannot be read: b'loss=2" in "".join(warnings(run_dir))


@pytest.mark.parametrize(
    ("changes", "may_share"),
    [
        pytest.param({}, True, id="a metrics file only"),
        pytest.param({"packages": ["mlflow"]}, False, id="MLflow's client"),
        pytest.param({"packages": ["mlflow"], "tracking": None}, True, id="MLflow's client, not tracked"),
        pytest.param({"tensorboard": True}, False, id="event files"),
        pytest.param({"patterns": {"loss": "loss=(.*)"}}, False, id="patterns"),
        pytest.param({"gpus": 1}, False, id="GPUs"),
    ],
)
def test_who_gives_a_tracker_much_to_do_has_one_alone(run_dir: RunDir, changes: dict[str, object], may_share: bool) -> None:
    wanted = {"packages": ["numpy"], "tracking": {}, "tensorboard": False, "patterns": {}, "gpus": 0, **changes}
    spec = {"tracking": wanted["tracking"], "metrics": {name: wanted[name] for name in ("tensorboard", "patterns")}}
    steps = [{"step": "install-wheel", "name": name} for name in wanted["packages"]]  # type: ignore[attr-defined]
    run_dir.plan.write_text(json.dumps({"plan": {"spec": spec, "gpus": wanted["gpus"], "build": {"steps": steps}}}))
    assert may_share is may_share_tracker(run_dir)
