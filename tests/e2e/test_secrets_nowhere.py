"""A secret is where the program is, and nowhere else: no file, tag, artifact, log or layer has it, no process outside."""

from __future__ import annotations

import json
import os
import subprocess
import time
from pathlib import Path

import pytest
from launch_command import Launch
from server_peer import Server

pytestmark = [pytest.mark.any_user, pytest.mark.requires("overlayfs", "userns")]

SECRET = "a-value-that-nobody-else-has-5e1f"

PROGRAM = """\
import os, pathlib, time
assert os.environ["LAB_PASS"] == pathlib.Path("/run/secrets/LAB_PASS").read_text()
print("has it", flush=True)
while not pathlib.Path(os.environ["LAUNCH_CHECKPOINTS"], "go-on").exists():
    time.sleep(0.05)
"""

EXPERIMENT = """\
# @package _global_
image: {requirements: []}
code: {root: code}
command: [python3, train.py]
secrets: [LAB_PASS]
cpus: 0.5
memory: 256MiB
"""


@pytest.fixture
def secretive(session_home: Path, tmp_path: Path) -> Launch:
    (tmp_path / "conf/experiment").mkdir(parents=True)
    (tmp_path / "code").mkdir()
    (tmp_path / "conf/experiment/secretive.yaml").write_text(EXPERIMENT)
    (tmp_path / "code/train.py").write_text(PROGRAM)
    return Launch(session_home, tmp_path, environ={"LAB_PASS": SECRET})


def outside(pid: int) -> bool:
    """Whether a process is in the same pid namespace as we are (proc_pid_status(5), NSpid)."""
    status = Path(f"/proc/{pid}/status").read_text()
    return 1 == len(next(line for line in status.splitlines() if line.startswith("NSpid:")).split()[1:])


def processes_with_it() -> list[int]:
    found = []
    for entry in filter(str.isdigit, os.listdir("/proc")):
        try:
            held = SECRET.encode() in Path("/proc", entry, "environ").read_bytes()
            if (held or SECRET.encode() in Path("/proc", entry, "cmdline").read_bytes()) and outside(int(entry)):
                found.append(int(entry))
        except (OSError, StopIteration):
            continue  # gone, or not ours to read
    return found


def files_with(words: str, home: Path) -> list[str]:
    """Below *home*, as far as this user may read; what comes and goes meanwhile, and what belongs to a container of another test,
    makes grep's exit code 2."""
    grep = subprocess.run(["grep", "-rlaFs", words, str(home)], capture_output=True, text=True, check=False)
    return grep.stdout.splitlines()


def test_a_secret_is_nowhere_but_in_the_program(secretive: Launch, recorded: Server) -> None:
    run_id = secretive("-d", "experiment=secretive").stdout.strip()
    run_dir = secretive.home / "runs" / run_id
    while "has it" not in (run_dir / "stdout.log").read_text():
        assert secretive.record(run_id)["exit_code"] is None
        time.sleep(0.1)
    assert [] == processes_with_it()
    (run_dir / "checkpoints/go-on").touch()
    secretive("wait", run_id)

    # Files, logs, layers, caches, and the local server's database and artifacts.
    assert str(run_dir / "journal.jsonl") in files_with(run_id, secretive.home)
    assert [] == files_with(SECRET, secretive.home)
    known = recorded.run(secretive.record(run_id)["mlflow_run_id"])
    assert "FINISHED" == known.info["status"]
    assert SECRET not in json.dumps([known.params, known.tags])
