"""Runs on GPUs that aren't there, watched from outside: what MLflow has of them, and what happens when one falls off the bus."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from gpu_box import GpuBox
from journal_lines import read_lines
from launch_command import Launch
from server_peer import Server

from runtime.state_dir import RunDir, StateDir

pytestmark = pytest.mark.requires("overlayfs", "userns", "cc")

WITHIN_S = 60.0

# The first attempt waits for what comes; another one has nothing to do.
PROGRAM = """\
import os, signal, sys, time
signal.signal(signal.SIGTERM, lambda *_: (print("saving", flush=True), sys.exit(0)))
print("ready", os.environ["PET_NPROC_PER_NODE"], flush=True)
if os.environ["LAUNCH_ATTEMPT"] == "1":
    time.sleep(600)
"""

EXPERIMENT = """\
# @package _global_
image: {requirements: []}
code: {root: experiments/waits}
command: [python3, waits.py]
gpus: 2
cpus: 0.5
memory: 256MiB
grace: 5s
tracking: {system_metrics: 500ms}
"""


@pytest.fixture
def waits(session_home: Path, tmp_path: Path) -> Launch:
    project = tmp_path / "project"
    for name, content in (("conf/experiment/waits.yaml", EXPERIMENT), ("experiments/waits/waits.py", PROGRAM)):
        (project / name).parent.mkdir(parents=True)
        (project / name).write_text(content)
    return Launch(session_home, project)


@pytest.fixture
def box(gpus_in_reach: Callable[..., GpuBox]) -> GpuBox:
    return gpus_in_reach(gpus=4)


def started(launch: Launch, *arguments: str) -> tuple[subprocess.Popen[str], RunDir]:
    """A launch whose program has said something, and its run."""
    runs = StateDir(launch.home).runs
    before = {path.name for path in runs.iterdir()} if runs.exists() else set()
    running = launch.start(*arguments)
    deadline = time.monotonic() + WITHIN_S
    while time.monotonic() < deadline:
        assert running.poll() is None, running.communicate()
        for name in {path.name for path in runs.iterdir()} - before if runs.exists() else ():
            run_dir = StateDir(launch.home).run(name)
            if any(event.name == "first_output" for event in read_lines(run_dir.journal)):
                return running, run_dir
        time.sleep(0.05)
    raise AssertionError("the program did not start")


def test_a_lost_gpu_ends_the_attempt_and_the_next_has_others(waits: Launch, box: GpuBox, recorded: Server) -> None:
    for gpu, percent in enumerate((11, 22, 33, 44)):
        box.state["gpus"][gpu] |= {"util_gpu": percent, "energy_mj": 0, "energy_grows": 1, "power_mw": 100_000}
    box.save()
    running, run_dir = started(waits, "experiment=waits", "retries=1")
    leased = next(event for event in read_lines(run_dir.journal) if event.name == "leased").get("gpus")
    time.sleep(2)
    lost = box.uuids.index(leased[0])
    box.lose(lost)
    box.fire_xid(lost, 79)
    _stdout, stderr = running.communicate(timeout=WITHIN_S)
    assert 0 == running.returncode, stderr
    assert f"({leased[0]}) reports Xid 79: the GPU has fallen off the bus" in stderr

    record = waits.record()
    assert ("completed", 2, "79") == (record["reason"], record["attempt"], record["facts"]["xid"])
    assert leased[0] not in record["gpus"]
    assert 2 == len(record["gpus"])
    first = next(event for event in read_lines(run_dir.journal) if event.name == "attempt")
    assert ("gpu_lost", 125) == (first.get("reason"), first.get("exit_code"))
    assert "has fallen off the bus" in first.get("message")
    assert 0 < record["usage"]["gpu_hours"] < 1
    assert 0 < record["usage"]["gpu_energy_wh"]

    known = recorded.run(record["mlflow_run_id"])
    used = {name: {value for _, value in recorded.history(known.info["run_id"], f"system/gpu_{name}")} for name in METRICS}
    assert {"0_utilization_percentage", "1_utilization_percentage"} <= {name for name, values in used.items() if values}
    assert {100.0} == used["1_power_usage_watts"]
    assert ("79", "125") == (known.tags["launch.xid"], str(first.get("exit_code")))
    assert float(known.tags["launch.gpu_hours"]) == record["usage"]["gpu_hours"]


METRICS = ("0_utilization_percentage", "1_utilization_percentage", "1_memory_usage_megabytes", "1_power_usage_watts")


def test_a_run_whose_gpus_do_nothing_is_stopped_with_the_reason(waits: Launch, box: GpuBox) -> None:
    stopped = waits("experiment=waits", "gpus=1", "gpu.stop_when_idle=2s", "retries=1", check=None)
    assert "saving" in stopped.stdout
    record = waits.record()
    assert ("stopped", "its GPU was idle for 2 s (`gpu.stop_when_idle`)") == (record["reason"], record["message"])
    assert 1 == record["attempt"], "what was asked for is not tried again"
    assert "its GPU was idle for 2 s" in stopped.stderr
