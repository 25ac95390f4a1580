"""The machine went down: everything was killed at once, and what lies on the disk is of another boot."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from crash_rounds import make_project
from launch_command import Launch
from server_peer import Server
from victims import process_children

from runtime.cgroup.own_cgroups import open_cgroup
from runtime.kernel.process_identity import process_started

pytestmark = pytest.mark.requires("root", "overlayfs", "userns", "unshare")

STARTED = {"pid": "pid_started", "init_pid": "init_started"}

BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


@pytest.fixture
def crashing(session_home: Path, tmp_path: Path) -> Launch:
    return Launch(session_home, make_project(tmp_path / "project"))


@pytest.fixture
def run_dir(crashing: Launch, recorded: Server) -> Iterator[Path]:
    """Of a run that MLflow knows and whose program runs."""
    run = crashing("-d", "experiment=crash", "env.PAUSE_S='900'").stdout.strip()
    directory = crashing.home / "runs" / run
    deadline = time.monotonic() + 30
    while not ((directory / "outputs/begun").exists() and (directory / "mlflow.json").exists()):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    yield directory
    crashing("stop", run)


def power_cut(run_dir: Path) -> None:
    """Nobody of the run is left, and nothing that lives in memory; the numbers of its processes may be others' now."""
    supervisor = int(json.loads((run_dir / "supervisor.lock").read_text())["pid"])
    everybody = [*process_children(supervisor), supervisor]
    for number in (signal.SIGSTOP, signal.SIGKILL):
        for pid in everybody:
            os.kill(pid, number)
    cgroup = open_cgroup(f"launch-{run_dir.name}")
    cgroup.kill()
    cgroup.remove()
    journal = run_dir / "journal.jsonl"
    events = [json.loads(line) for line in journal.read_text().splitlines()]
    for event in events:
        for name in ("pid", "init_pid"):
            if name in event:
                event[name], event[STARTED[name]] = os.getpid(), process_started(os.getpid())
    journal.write_text("".join(json.dumps(event) + "\n" for event in events))


def after_a_reboot(launch: Launch, tmp_path: Path, *words: str) -> subprocess.CompletedProcess[str]:
    boot_id = tmp_path / "boot_id"
    boot_id.write_text(f"{uuid.uuid4()}\n")
    script = f'mount --bind {boot_id} {BOOT_ID} && exec "$@"'
    argv = ["unshare", "--mount", "sh", "-c", script, "sh", *launch.argv(*words)]
    return subprocess.run(argv, cwd=launch.project, env=launch.env(), capture_output=True, text=True, timeout=60, check=False)


def test_after_a_reboot_the_run_is_lost_and_nothing_of_it_is_left(
    crashing: Launch, recorded: Server, run_dir: Path, tmp_path: Path
) -> None:
    power_cut(run_dir)
    shown = after_a_reboot(crashing, tmp_path, "ps")
    assert (0, "") == (shown.returncode, shown.stdout), shown.stderr
    assert 125 == after_a_reboot(crashing, tmp_path, "wait", run_dir.name).returncode
    record = crashing.record(run_dir.name)
    assert ("KILLED", "lost", 125) == (record["status"], record["reason"], record["exit_code"])
    assert "the machine went down" in record["message"]
    known = recorded.run(record["mlflow_run_id"])
    assert ("KILLED", "lost") == (known.info["status"], known.tags["launch.reason"])
    assert not (run_dir / "overlay").exists()
    assert not (crashing.home / "active" / run_dir.name).exists()
