"""What is asked of a worker's trial reaches its supervisor."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from launcher.cluster.trials.exchange import request
from launcher.cluster.trials.forked_trial import ForkedTrial
from runtime.file_lock import open_locked
from runtime.state_dir import RunDir

SLEEPER = [sys.executable, "-S", "-c", "import time; time.sleep(60)"]


@pytest.fixture
def supervisor() -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(SLEEPER)
    yield process
    process.kill()
    process.wait()


@pytest.fixture
def trial(tmp_path: Path, supervisor: subprocess.Popen[bytes]) -> ForkedTrial:
    return ForkedTrial(RunDir(tmp_path), os.pidfd_open(supervisor.pid))


def test_what_is_asked_before_the_supervisor_has_its_lock_reaches_it_once_it_has(trial, supervisor):
    request(trial.run_dir, signal.SIGTERM)
    trial.look()
    assert supervisor.poll() is None
    lock_fd = open_locked(trial.run_dir.supervisor_lock)
    trial.run_dir.supervisor_lock.write_text(json.dumps({"pid": supervisor.pid}))
    trial.look()
    assert -signal.SIGTERM == supervisor.wait(timeout=5)
    os.close(lock_fd)


def test_so_does_what_its_job_was_told(trial, supervisor):
    trial.signal(signal.SIGUSR2)
    lock_fd = open_locked(trial.run_dir.supervisor_lock)
    trial.run_dir.supervisor_lock.write_text(json.dumps({"pid": supervisor.pid}))
    trial.look()
    assert -signal.SIGUSR2 == supervisor.wait(timeout=5)
    os.close(lock_fd)
