"""Signals reach the supervisor that holds the lock, and nobody else."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator

import pytest

from launcher.run.start.supervisor_link import open_supervisor, other_machine, signal_supervisor
from runtime.file_lock import open_locked
from runtime.kernel.lock_holder import announce_holder
from runtime.state_dir import RunDir

SLEEPER = [sys.executable, "-S", "-c", "import time; time.sleep(60)"]


@pytest.fixture
def holder(run_dir: RunDir) -> Iterator[subprocess.Popen[bytes]]:
    """A process that holds the lock and has not announced itself."""
    lock_fd = open_locked(run_dir.supervisor_lock)
    process = subprocess.Popen(SLEEPER, pass_fds=(lock_fd,))
    os.close(lock_fd)
    yield process
    process.kill()
    process.wait()


def announce(run_dir: RunDir, pid: int) -> None:
    run_dir.supervisor_lock.write_text(json.dumps({"pid": pid}))


def test_the_holder_of_the_lock_gets_the_signal(run_dir: RunDir, holder: subprocess.Popen[bytes]) -> None:
    announce(run_dir, holder.pid)
    assert signal_supervisor(run_dir, signal.SIGTERM)
    assert holder.wait(timeout=5) == -signal.SIGTERM


def test_a_holder_on_another_machine_is_not_looked_for_among_the_processes_of_this_one(
    run_dir: RunDir, holder: subprocess.Popen[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The lock is seen over a shared file system, and its holder's pid is somebody else's here."""
    monkeypatch.setattr("launcher.run.start.supervisor_link._PATIENCE_S", 0.1)
    told = {"pid": holder.pid, "started": "0badb007+17", "host": "login2"}
    run_dir.supervisor_lock.write_text(json.dumps(told))
    assert not signal_supervisor(run_dir, signal.SIGTERM)
    assert "login2" == other_machine(run_dir)


def test_a_holder_on_this_machine_is_not_elsewhere(run_dir: RunDir, holder: subprocess.Popen[bytes]) -> None:
    lock_fd = os.open(run_dir.supervisor_lock, os.O_RDWR)
    announce_holder(lock_fd)
    os.close(lock_fd)
    assert other_machine(run_dir) is None


def test_a_zombie_that_the_lock_still_names_does_not_swallow_the_signal(run_dir: RunDir, holder: subprocess.Popen[bytes]) -> None:
    zombie = os.fork()
    if zombie == 0:
        os._exit(0)
    os.waitid(os.P_PID, zombie, os.WEXITED | os.WNOWAIT)
    announce(run_dir, zombie)
    later = threading.Timer(0.2, announce, (run_dir, holder.pid))
    later.start()
    try:
        assert signal_supervisor(run_dir, signal.SIGTERM)
        assert holder.wait(timeout=5) == -signal.SIGTERM
    finally:
        later.join()
        os.waitpid(zombie, 0)


def test_a_living_process_is_left_alone_when_nobody_holds_the_lock(run_dir: RunDir) -> None:
    bystander = subprocess.Popen(SLEEPER)
    try:
        announce(run_dir, bystander.pid)
        assert open_supervisor(run_dir) is None
        assert not signal_supervisor(run_dir, signal.SIGTERM)
        assert bystander.poll() is None
    finally:
        bystander.kill()
        bystander.wait()
