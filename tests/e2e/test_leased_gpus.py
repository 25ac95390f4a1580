"""`launch` where the GPUs are taken: what waits, what it says, what fails at once, and who gets what a killed run had."""

from __future__ import annotations

import json
import os
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from gpu_box import GpuBox, make_box
from journal_lines import read_lines
from launch_command import Launch
from waiting import eventually

from runtime.gpu.leases.lease import holders
from runtime.state_dir import StateDir

pytestmark = pytest.mark.requires("overlayfs", "userns", "cc")

WITHIN_S = 60.0


@pytest.fixture
def box(monkeypatch: pytest.MonkeyPatch) -> Iterator[GpuBox]:
    """Where a container's process 1, which is nobody outside, finds the nodes, as it finds those of /dev."""
    with tempfile.TemporaryDirectory(prefix="launch-gpus-") as directory:
        os.chmod(directory, 0o755)
        made = make_box(Path(directory) / "box", gpus=2)
        made.use(monkeypatch)
        yield made
        made.remove()


def detached(launch: Launch, *arguments: str) -> str:
    return launch("experiment=probe", *arguments, "-d").stdout.strip()


def first_event(launch: Launch, run: str, name: str) -> dict[str, Any]:
    """The fields of the first event called *name* in the journal of *run*, which it may have to wait for."""
    path = StateDir(launch.home).run(run).journal
    found = eventually(
        lambda: [event for event in read_lines(path) if event.name == name],
        lambda: f"`{name}` in {[event.name for event in read_lines(path)]}",
        within_s=WITHIN_S,
    )
    return found[0].fields


def supervisor_of(launch: Launch, run: str) -> int:
    return int(json.loads(StateDir(launch.home).run(run).supervisor_lock.read_text())["pid"])


def test_a_run_that_does_not_fit_waits_and_says_for_what(launch: Launch, box: GpuBox) -> None:
    holder = detached(launch, "params.how=graceful", "gpus=2")
    first_event(launch, holder, "first_output")
    waiter = detached(launch, "gpus=1")
    first_event(launch, waiter, "waiting")
    says = f"place 1 of 1 in line for 1 GPU: 0 of 2 free; 2 held by run {holder} of "
    assert says in launch("ps").stdout
    listed = {one["run_id"]: one["waits_for"] for one in json.loads(launch("ps", "--json").stdout)}
    assert listed[holder] is None
    assert listed[waiter].startswith(says)

    refused = launch("experiment=probe", "gpus=1", "--no-wait", check=125)
    assert refused.stderr.startswith("error: not enough free GPUs: 1 GPU requested, 0 of 2 free\n")
    assert f"2 held by run {holder} of " in refused.stderr
    assert f"1 kept for run {waiter}" not in refused.stderr

    launch("stop", holder)
    assert len(first_event(launch, waiter, "leased")["gpus"]) == 1
    first_event(launch, waiter, "finished")
    assert holders(box.uuids) == {}


def test_a_waiter_that_is_stopped_leaves_the_line(launch: Launch, box: GpuBox) -> None:
    holder = detached(launch, "params.how=graceful", "gpus=1")
    first_event(launch, holder, "first_output")
    big = detached(launch, "gpus=2")
    first_event(launch, big, "waiting")
    small = detached(launch, "gpus=1")
    assert f"1 kept for run {big}, which is ahead" in first_event(launch, small, "waiting")["text"]
    launch("stop", big)
    assert launch.record(big)["reason"] == "stopped"
    first_event(launch, small, "leased")
    assert first_event(launch, small, "finished")["exit_code"] == 0
    launch("stop", holder)


def test_a_killed_supervisor_frees_nothing_that_its_program_uses(launch: Launch, box: GpuBox) -> None:
    run = detached(launch, "params.how=graceful", "gpus=2")
    first_event(launch, run, "first_output")
    init = first_event(launch, run, "started")["init_pid"]
    supervisor = supervisor_of(launch, run)
    os.kill(supervisor, signal.SIGKILL)
    refused = launch("experiment=probe", "gpus=1", "--no-wait", check=125)
    assert f"2 held by run {run} of " in refused.stderr
    os.kill(init, signal.SIGKILL)
    taken = launch("experiment=probe", "gpus=2", "--no-wait")
    assert "hello from" in taken.stdout
    first_event(launch, run, "finished")


def test_two_halves_share_a_gpu_and_know_it(launch: Launch, box: GpuBox) -> None:
    first = detached(launch, "params.how=graceful", "gpus=0.5")
    first_event(launch, first, "first_output")
    second = launch("experiment=probe", "params.how=env", "gpus=0.5", "--no-wait")
    env = json.loads(second.stdout.splitlines()[-1])
    assert env["LAUNCH_GPU_SHARE"] == "0.5"
    assert env["LAUNCH_GPU_MEMORY_BYTES"] == str(85520809984 // 2)
    gpus = {tuple(first_event(launch, run, "leased")["gpus"]) for run in (first, launch.record()["run_id"])}
    assert len(gpus) == 1
    launch("stop", first)


@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="there is one processor only")
def test_a_run_stays_on_the_processors_beside_its_gpu(launch: Launch, box: GpuBox) -> None:
    near = max(os.sched_getaffinity(0))
    for listed in box.roots.sys.glob("sys/bus/pci/devices/*/local_cpulist"):
        listed.write_text(f"{near}\n")
    where = ("--", "python3", "-c", "import os; print(os.sched_getaffinity(0))")
    assert launch("experiment=probe", "gpus=1", *where).stdout == f"{{{near}}}\n"
    assert launch("experiment=probe", *where).stdout == f"{os.sched_getaffinity(0)}\n"
    assert first_event(launch, launch.record("@last~1")["run_id"], "leased")["cpus"] == str(near)
