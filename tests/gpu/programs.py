"""Programs beside the tests: work on the first GPU, and launchers that lease it."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from cuda_work import CANT_COMPUTE

HERE = Path(__file__).parent
READY_S = 60.0


@contextmanager
def program(script: str, *arguments: str, one_gpu: str | None = None) -> Iterator[subprocess.Popen[str]]:
    """*script* of this directory, killed at the end. It sees *one_gpu* only."""
    beside = (HERE, HERE.parents[1], HERE.parents[1] / "tests/unit/launcher/run")
    env = {**os.environ, "PYTHONPATH": ":".join([*map(str, beside), *filter(None, sys.path)])}
    if one_gpu is not None:
        env["CUDA_VISIBLE_DEVICES"] = one_gpu
    running = subprocess.Popen(
        [sys.executable, "-u", str(HERE / script), *arguments],
        env=env,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield running
    finally:
        running.kill()
        running.communicate()


@contextmanager
def cuda_work(uuid: str | None, *how: str) -> Iterator[subprocess.Popen[str]]:
    """`cuda_work.py` on the GPU *uuid*, ready. Skips where this machine's libcuda can't compute."""
    with program("cuda_work.py", *how, one_gpu=uuid) as running:
        if line(running) != "ready":
            code, words = running.wait(READY_S), str(running.stderr.read() if running.stderr else "")
            if code == CANT_COMPUTE:
                pytest.skip(words.strip())
            raise AssertionError(f"cuda_work.py {how} ended with {code}: {words}")
        yield running


def line(running: subprocess.Popen[str]) -> str:
    """The next that it says."""
    assert running.stdout is not None
    return running.stdout.readline().strip()


def ends(running: subprocess.Popen[str]) -> tuple[int, str]:
    """Its exit code and what it said on stderr."""
    _, errors = running.communicate(timeout=READY_S)
    return running.returncode, errors


def within(seconds: float, true: object) -> float | None:
    """Seconds until the callable *true* was; None when it never was."""
    started = time.monotonic()
    while time.monotonic() - started < seconds:
        if true():  # type: ignore[operator]
            return round(time.monotonic() - started, 3)
        time.sleep(0.05)
    return None
