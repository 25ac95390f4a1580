"""A container to work in whose GPUs nobody uses: they are given back, and asked for again (`dev.gpu_idle`)."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from gpu_box import GpuBox
from launch_command import EXPERIMENT, Launch, write_project
from terminal_session import TerminalSession
from waiting import eventually

from launcher.journal.run_journal import read_state
from launcher.journal.run_state import RunState
from launcher.run.dev_containers import living_in
from runtime.gpu.leases.lease import holders
from runtime.json_files import json_object
from runtime.state_dir import StateDir

pytestmark = pytest.mark.requires("overlayfs", "userns", "cc")

OPEN = "import os; os.open('/dev/nvidia0', os.O_RDWR)"
HOLD = "import time; held = open('/dev/nvidia0'); print('open', flush=True); time.sleep(600)"


@pytest.fixture
def box(gpus_in_reach: Callable[..., GpuBox]) -> GpuBox:
    return gpus_in_reach(gpus=1)


@pytest.fixture
def mine(session_home: Path, tmp_path: Path, box: GpuBox) -> Iterator[Launch]:
    experiment = EXPERIMENT.replace("probe", "mine") + "gpus: 1\n"
    launch = Launch(session_home, write_project(tmp_path / "project", "mine", experiment=experiment))
    yield launch
    for left in living_in(StateDir(launch.home), launch.project):
        launch("stop", left.run_id)


def begin(launch: Launch, gpu_idle: str) -> str:
    return launch("dev", "-d", "experiment=mine", f"dev.gpu_idle={gpu_idle}").stdout.split()[0]


def state_of(launch: Launch, container: str) -> RunState:
    return read_state(StateDir(launch.home).run(container).journal)


def is_away(launch: Launch, container: str) -> bool:
    return state_of(launch, container).gpus_away is not None


def open_node(launch: Launch, container: str) -> str:
    """What a program that opens the GPU's node is told, without launch knowing that one comes."""
    return launch("exec", container, "--", "python3", "-c", OPEN, check=None).stderr


def test_gpus_that_nobody_uses_are_given_back_and_asked_for_again(mine: Launch, box: GpuBox) -> None:
    container = begin(mine, "1s")
    eventually(lambda: is_away(mine, container))
    assert {} == holders(box.uuids)
    (row,) = [one for one in json.loads(mine("ps", "--json").stdout) if one["run_id"] == container]
    assert "its next use, to ask for its GPUs again" == row["waits_for"]

    other = mine("experiment=mine", "--", "python3", "-c", OPEN, check=None)
    assert "Permission denied" not in other.stderr
    again = mine("exec", container, "--", "python3", "-c", OPEN, check=None)
    assert "its GPUs were given back, since nobody used it; they are asked for again" in again.stderr
    assert "Permission denied" not in again.stderr
    assert 2 <= (mine.home / "dev" / container / "journal.jsonl").read_text().count('"leased"')


def test_a_program_inside_cannot_open_what_was_given_back(mine: Launch, box: GpuBox) -> None:
    container = begin(mine, "2s")
    script = (
        "import os, time\n"
        "while True:\n"
        "    try: os.close(os.open('/dev/nvidia0', os.O_RDWR))\n"
        "    except OSError as e: open('/outputs/said', 'a').write(e.strerror + chr(10))\n"
        "    time.sleep(0.5)\n"
    )
    mine("exec", container, "--", "sh", "-c", f'setsid python3 -c "{script}" </dev/null >/dev/null 2>&1 &')
    said = mine.home / "dev" / container / "outputs/said"
    eventually(lambda: said.exists() and "Permission denied" in said.read_text())
    eventually(lambda: is_away(mine, container))
    sets = mine("exec", container, "--", "grep", "^Cap", "/proc/self/status").stdout.splitlines()
    assert 5 == len(sets)
    assert not any(int(line.split()[1], 16) & 1 << 21 for line in sets), "CAP_SYS_ADMIN is init's alone"


@pytest.mark.requires("root")  # who makes nodes that open
def test_an_open_gpu_is_kept(mine: Launch, box: GpuBox) -> None:
    container = begin(mine, "1s")
    with subprocess.Popen(
        mine.argv("exec", container, "--", "python3", "-c", HOLD), env=mine.env(), cwd=mine.project, stdout=subprocess.PIPE
    ) as holder:
        assert holder.stdout is not None
        assert b"open\n" == holder.stdout.readline()
        with TerminalSession(mine, "exec", container, "--", "sleep", "6") as looks:
            looks.end()
        assert not is_away(mine, container)
        holder.terminate()
    eventually(lambda: is_away(mine, container))


def test_who_comes_while_they_are_taken_waits_and_is_told_for_whom(mine: Launch, box: GpuBox) -> None:
    container = begin(mine, "1s")
    eventually(lambda: is_away(mine, container))
    other = mine("-d", "experiment=mine", "--", "sleep", "600").stdout.strip()
    eventually(lambda: state_of(mine, other).has_started)
    argv = mine.argv("exec", container, "--", "echo", "went")
    with subprocess.Popen(
        argv, env=mine.env(), cwd=mine.project, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as comes:
        eventually(lambda: (away := state_of(mine, container).gpus_away) is not None and other in (away.wait or ""))
        mine("stop", other)
        said, told = comes.communicate(timeout=60)
    assert "went\n" == said
    assert "waiting: place 1 of 1 in line" in told
    assert other in told


def test_ctrl_c_leaves_the_line_and_the_container_goes_on(mine: Launch, box: GpuBox) -> None:
    container = begin(mine, "1s")
    eventually(lambda: is_away(mine, container))
    other = mine("-d", "experiment=mine", "--", "sleep", "600").stdout.strip()
    eventually(lambda: state_of(mine, other).has_started)
    argv = mine.argv("exec", container, "--", "echo", "went")
    with subprocess.Popen(
        argv, env=mine.env(), cwd=mine.project, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as comes:
        eventually(lambda: (away := state_of(mine, container).gpus_away) is not None and away.wait is not None)
        comes.send_signal(signal.SIGINT)
        said, told = comes.communicate(timeout=30)
    assert (130, "") == (comes.returncode, said), told
    assert "Traceback" not in told
    assert state_of(mine, container).finished is None
    mine("stop", other)


def test_a_key_typed_in_an_open_shell_brings_them_back(mine: Launch, box: GpuBox) -> None:
    with TerminalSession(mine, "dev", "experiment=mine", "dev.gpu_idle=1s") as session:
        session.wait_for("# ")
        (container,) = [record.run_id for record in living_in(StateDir(mine.home), mine.project)]
        eventually(lambda: is_away(mine, container))
        # The kernel notes a touch of a terminal every eight seconds (tty(4)).
        eventually(lambda: session.type("true\n") or not is_away(mine, container), every_s=1)
        session.type("exit\n")
        session.end()


@pytest.mark.parametrize("away", [False, True], ids=["held", "given back"])
def test_a_supervisor_that_follows_a_killed_one_knows_whether_they_are_there(mine: Launch, box: GpuBox, away: bool) -> None:
    container = begin(mine, "2s" if away else "1h")
    if away:
        eventually(lambda: is_away(mine, container))
    pid = int(json_object(mine.home / "dev" / container / "supervisor.lock")["pid"])
    os.kill(pid, signal.SIGKILL)
    mine("ps")
    eventually(lambda: state_of(mine, container).takeovers == 1)
    if away:
        assert "went\n" == mine("exec", container, "--", "echo", "went").stdout
    assert not is_away(mine, container)
    assert [container] == [holder.run for each in holders(box.uuids).values() for holder in each]
    mine("stop", container)
    assert {} == holders(box.uuids)
