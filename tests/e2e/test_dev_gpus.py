"""A container to work in whose GPUs nobody uses: they are given back, and asked for again (`dev.gpu_idle`)."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
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
OPENED_BY_A_USER = "No such device or address"
"""Of the node that a user can make."""
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


@contextmanager
def one_who_comes(launch: Launch, container: str, waits: str) -> Iterator[tuple[subprocess.Popen[str], Path]]:
    """A command in *container* that has said that it *waits* for that, and what it says."""
    told = launch.project.parent / "told"
    argv = launch.argv("exec", container, "--", "echo", "went")
    with (
        told.open("w") as stderr,
        subprocess.Popen(argv, env=launch.env(), cwd=launch.project, stdout=subprocess.PIPE, stderr=stderr, text=True) as comes,
    ):
        try:
            eventually(lambda: waits in told.read_text(), told.read_text)
            yield comes, told
        finally:
            comes.kill()


def another_on_its_gpu(launch: Launch) -> str:
    other = launch("-d", "experiment=mine", "--", "sleep", "600").stdout.strip()
    eventually(lambda: state_of(launch, other).has_started)
    return other


def test_gpus_that_nobody_uses_are_given_back_and_asked_for_again(mine: Launch, box: GpuBox) -> None:
    container = begin(mine, "1s")
    eventually(lambda: is_away(mine, container))
    assert {} == holders(box.uuids)
    (row,) = [one for one in json.loads(mine("ps", "--json").stdout) if one["run_id"] == container]
    assert "its next use, to ask for its GPUs again" == row["waits_for"]

    assert [] == row["gpus"]

    assert 0 == mine("experiment=mine", "--", "true").returncode
    again = mine("exec", container, "--", "python3", "-c", OPEN, check=None)
    assert "its GPUs were given back, since nobody used it; they are asked for again" in again.stderr
    assert ("" if os.geteuid() == 0 else OPENED_BY_A_USER) in again.stderr
    assert os.geteuid() != 0 or again.returncode == 0
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
    argv = mine.argv("exec", container, "--", "python3", "-c", HOLD)
    with subprocess.Popen(argv, env=mine.env(), cwd=mine.project, stdout=subprocess.PIPE) as holder:
        try:
            assert holder.stdout is not None
            assert b"open\n" == holder.stdout.readline()
            mine("exec", container, "--", "sleep", "6")  # as long as several looks take
            assert not is_away(mine, container)
        finally:
            holder.terminate()
    eventually(lambda: is_away(mine, container))


def test_who_comes_while_they_are_taken_waits_and_is_told_for_whom(mine: Launch, box: GpuBox) -> None:
    container = begin(mine, "1s")
    eventually(lambda: is_away(mine, container))
    other = another_on_its_gpu(mine)
    with one_who_comes(mine, container, "waiting: place 1 of 1 in line") as (comes, told):
        assert other in told.read_text()
        mine("stop", other)
        assert "went\n" == comes.communicate(timeout=60)[0]


def test_ctrl_c_leaves_the_line_and_the_container_goes_on(mine: Launch, box: GpuBox) -> None:
    container = begin(mine, "1s")
    eventually(lambda: is_away(mine, container))
    other = another_on_its_gpu(mine)
    with one_who_comes(mine, container, other) as (comes, told):
        comes.send_signal(signal.SIGINT)
        said = comes.communicate(timeout=30)[0]
    assert (130, "") == (comes.returncode, said)
    assert "Traceback" not in told.read_text()
    assert state_of(mine, container).finished is None
    mine("stop", other)


def test_a_gpu_that_is_lost_meanwhile_is_said_and_ends_nothing(mine: Launch, box: GpuBox) -> None:
    container = begin(mine, "1s")
    eventually(lambda: is_away(mine, container))
    box.lose(0)
    with one_who_comes(mine, container, "not enough GPUs: 1 requested, 0") as (comes, _told):
        comes.send_signal(signal.SIGINT)
        comes.communicate(timeout=30)
    assert state_of(mine, container).finished is None


def test_nodes_without_a_lease_are_never_closed(mine: Launch, box: GpuBox) -> None:
    given = "devices=[/dev/nvidia0]"
    container = mine("dev", "-d", "experiment=mine", "gpus=0", given, "dev.gpu_idle=1s", "dev.idle=1h").stdout.split()[0]
    looks = "import os, time\nfor _ in range(8): time.sleep(0.5); os.path.exists('/x')\n" + OPEN
    assert "Permission denied" not in mine("exec", container, "--", "python3", "-c", looks, check=None).stderr
    assert not is_away(mine, container)


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
