"""The process that sends records of short trials: whatever it meets, nobody waits long for it."""

from __future__ import annotations

import os
import signal
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from journal_lines import write_event

from launcher.run import active
from launcher.run.start.sender import Sender
from launcher.tracking import tracker_state
from launcher.tracking.mlflow.description import Description, write_description
from runtime.state_dir import RunDir, StateDir


def children() -> set[int]:
    return set(map(int, Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()))


class Forked:
    """A sender that is killed at the end."""

    def __init__(self) -> None:
        before = children()
        self.sender = Sender.fork()
        (self.pid,) = children() - before

    def kill(self) -> None:
        os.kill(self.pid, signal.SIGKILL)
        os.close(self.sender.fd)
        os.waitpid(self.pid, 0)


@pytest.fixture
def forked(monkeypatch: pytest.MonkeyPatch) -> Iterator[Forked]:
    for name, value in (("_PATIENCE_S", 0.3), ("_ANSWER_S", 0.6), ("_SLOW_S", 0.1)):
        monkeypatch.setattr(f"launcher.run.start.sender.{name}", value)
    forked = Forked()
    yield forked
    forked.kill()


@pytest.fixture
def silent() -> Iterator[socket.socket]:
    """A server that takes connections and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setblocking(False)
        yield listener


def trial(tmp_path: Path, uri: str) -> RunDir:
    run_dir = active.new_run(StateDir(tmp_path / "home").ensure())
    write_description(run_dir, Description("digits", "digits", "ada", 0, uri=uri))
    write_event(run_dir.journal, "created", run_id=run_dir.run_id)
    write_event(run_dir.journal, "finished", reason="completed", exit_code=0, usage={})
    return run_dir


def connections(listener: socket.socket) -> int:
    count = 0
    while True:
        try:
            listener.accept()[0].close()
        except BlockingIOError:
            return count
        count += 1


def test_one_trial_asks_a_server_that_hangs_and_no_other_waits_for_it(
    tmp_path: Path, forked: Forked, silent: socket.socket
) -> None:
    uri = f"http://127.0.0.1:{silent.getsockname()[1]}"
    for _ in range(2):  # the second is given up while the first is at its turn
        forked.sender.send(trial(tmp_path, uri))
    time.sleep(0.5)  # the first has come to its end
    began = time.monotonic()
    forked.sender.send(trial(tmp_path, uri))
    assert time.monotonic() - began < 0.25, "it is told at once to do it itself"
    assert 1 == connections(silent)


def test_nobody_waits_in_a_queue_that_is_full(tmp_path: Path, forked: Forked, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("launcher.run.start.sender._PATIENCE_S", 0.0)
    os.kill(forked.pid, signal.SIGSTOP)
    run_dir = RunDir(tmp_path / ("long" * 50))
    with ThreadPoolExecutor() as pool:
        asking = pool.submit(lambda: [forked.sender.send(run_dir) for _ in range(2000)])
        try:
            asking.result(timeout=20)
        finally:
            os.kill(forked.pid, signal.SIGKILL)


def test_a_bug_leaves_its_traceback_with_the_run(tmp_path: Path, forked: Forked) -> None:
    run_dir = trial(tmp_path, "http://127.0.0.1:9")
    run_dir.tracking.write_text("{}")
    forked.sender.send(run_dir)
    assert "KeyError: 'keep'" in run_dir.supervisor_log.read_text()


def test_a_warning_of_a_short_trial_is_told_at_its_end(tmp_path: Path, forked: Forked) -> None:
    run_dir = trial(tmp_path, "http://127.0.0.1:9")
    run_dir.metrics.write_text('{"loss": 1}\nloss=2\n')
    forked.sender.send(run_dir)
    assert "a line that cannot be read: b'loss=2" in "".join(tracker_state.warnings(run_dir))
