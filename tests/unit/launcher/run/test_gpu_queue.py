"""Waiting for GPUs, and not waiting, on a machine of `gpu_box.py`: what is told, who is respected, what a death leaves."""

from __future__ import annotations

import os
import pwd
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from gpu_box import GpuBox, make_box
from gpu_racers import plan_for
from waiting import eventually

from launcher.config.spec import Gpu
from launcher.errors import LaunchError
from launcher.journal.status import Reason
from launcher.run.gpus.gpu_queue import GpuPlacement, refuse_unless_free, take_gpus_now, wait_for_gpus
from launcher.run.supervisor.attempt import CancelledInQueue
from launcher.run.supervisor.signal_inbox import SignalInbox
from runtime.gpu.leases.lease import holders, release

pytestmark = pytest.mark.requires("cc")

SOON_S = 5.0


@pytest.fixture
def box(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> GpuBox:
    made = make_box(tmp_path / "box", gpus=2)
    made.use(monkeypatch)
    return made


class Others:
    """Runs in processes of their own, killed at the end."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.pids: list[int] = []

    def run(self, name: str, gpus: float, **more: object) -> int:
        """Start a run that holds *gpus* until it is killed; returns when it has them or has said what it waits for."""
        heard, said = os.pipe()
        pid = os.fork()
        if pid == 0:
            with suppress(BaseException):
                got = wait_for_gpus(plan_for(gpus, **more), name, SignalInbox(()), lambda *told: _tell(said, told))  # type: ignore[arg-type]
                (self.directory / name).write_text(" ".join(got.lease.uuids))
                os.write(said, b"leased")
                signal.pause()
            os._exit(1)
        os.close(said)
        self.pids.append(pid)
        assert os.read(heard, 1000)
        os.close(heard)
        return pid

    def has_leased(self, name: str) -> bool:
        return (self.directory / name).exists()

    def kill(self, pid: int) -> None:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        self.pids.remove(pid)


def _tell(fd: int, told: object) -> None:
    os.write(fd, str(told).encode())


@pytest.fixture
def others(tmp_path: Path) -> Iterator[Others]:
    made = Others(tmp_path)
    yield made
    for pid in list(made.pids):
        made.kill(pid)


@pytest.fixture
def inbox() -> Iterator[SignalInbox]:
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    yield SignalInbox(before)
    signal.set_wakeup_fd(-1)
    for number, handler in before.items():
        signal.signal(number, handler)


def never_waits(*told: object) -> None:
    raise AssertionError(told)


def got(found: GpuPlacement) -> tuple[str, ...]:
    uuids = found.lease.uuids
    release(found.lease)
    return uuids


def test_what_is_free_is_leased_at_once(box: GpuBox, inbox: SignalInbox) -> None:
    found = wait_for_gpus(plan_for(2), "run", inbox, never_waits)
    assert [gpu.uuid for gpu in found.gpus] == list(box.uuids)
    assert set(got(found)) == set(box.uuids)


def test_a_part_comes_with_its_share_of_memory(box: GpuBox, inbox: SignalInbox) -> None:
    lease = wait_for_gpus(plan_for(0.25), "run", inbox, never_waits).lease
    assert (lease.shares, lease.memory_bytes) == ((0.25,), (85520809984 // 4,))
    release(lease)


def test_a_waiter_is_told_its_place_and_what_it_waits_for(box: GpuBox, others: Others, inbox: SignalInbox) -> None:
    holder = others.run("a1b2", 2)
    others.run("c3d4", 1)
    told: list[tuple[int, int, str]] = []

    def waiting(*now: object) -> None:
        told.append(now)  # type: ignore[arg-type]
        if len(told) == 1:
            others.kill(holder)

    assert len(got(wait_for_gpus(plan_for(1), "run", inbox, waiting))) == 1
    place, of, words = told[0]
    assert (place, of) == (2, 2)
    assert words.startswith(f"1 GPU: 0 of 2 free; 2 held by run a1b2 of {pwd.getpwuid(os.getuid()).pw_name} since ")
    assert eventually(lambda: others.has_leased("c3d4"))


def test_a_freed_gpu_is_taken_at_once(box: GpuBox, others: Others) -> None:
    """Long before the entry would look again by itself."""
    holder = others.run("a1b2", 2)
    others.run("c3d4", 2)
    others.kill(holder)
    assert eventually(lambda: others.has_leased("c3d4"))


def test_the_death_of_a_waiter_lets_the_next_one_on(box: GpuBox, others: Others) -> None:
    """The first holds one; the second wants both and keeps the free one; the third wants one and gets it when the second dies."""
    others.run("a1b2", 1)
    second = others.run("c3d4", 2)
    others.run("e5f6", 1)
    assert not others.has_leased("e5f6")
    others.kill(second)
    assert eventually(lambda: others.has_leased("e5f6"))


def test_the_urgent_goes_first(box: GpuBox, others: Others) -> None:
    holder = others.run("a1b2", 2)
    others.run("c3d4", 2)
    others.run("e5f6", 2, priority=1)
    others.kill(holder)
    assert eventually(lambda: others.has_leased("e5f6"))
    assert not others.has_leased("c3d4")


@pytest.mark.parametrize(
    ("signum", "reason"),
    [
        pytest.param(signal.SIGTERM, Reason.STOPPED, id="launch stop"),
        pytest.param(signal.SIGINT, Reason.INTERRUPTED, id="Ctrl-C"),
    ],
)
def test_a_waiter_can_be_called_off(
    box: GpuBox, others: Others, inbox: SignalInbox, signum: signal.Signals, reason: Reason
) -> None:
    others.run("a1b2", 2)
    with pytest.raises(CancelledInQueue) as off:
        wait_for_gpus(plan_for(1), "run", inbox, lambda *_told: os.kill(os.getpid(), signum))
    assert off.value.reason is reason


def test_without_waiting_it_fails_with_who_holds_what(box: GpuBox, others: Others, inbox: SignalInbox) -> None:
    others.run("a1b2", 1)
    for refused in (lambda: take_gpus_now(plan_for(2), "run", inbox), lambda: refuse_unless_free(plan_for(2))):
        with pytest.raises(LaunchError) as refusal:
            refused()
        assert refusal.value.message == "not enough free GPUs: 2 GPUs requested, 1 of 2 free"
        assert "1 held by run a1b2 of " in str(refusal.value.hint)
    refuse_unless_free(plan_for(1))
    assert len(got(take_gpus_now(plan_for(1), "run", inbox))) == 1


def test_without_waiting_nobody_in_the_line_is_passed(box: GpuBox, others: Others, inbox: SignalInbox) -> None:
    others.run("a1b2", 1)
    others.run("c3d4", 2)
    with pytest.raises(LaunchError) as refusal:
        take_gpus_now(plan_for(1), "run", inbox)
    assert "1 kept for run c3d4, which is ahead" in str(refusal.value.hint)


def test_a_stranger_is_respected(box: GpuBox, inbox: SignalInbox) -> None:
    box.add_process(0, 4411, uid=65534, command="/usr/bin/python3 train.py")
    assert got(wait_for_gpus(plan_for(1), "run", inbox, never_waits)) == (box.uuids[1],)
    with pytest.raises(LaunchError) as refusal:
        take_gpus_now(plan_for(2), "run", inbox)
    assert f"{box.uuids[0][:12]} used by pid 4411 `python3` of nobody, outside launch" in str(refusal.value.hint)


def test_a_waiter_notices_that_a_stranger_has_gone(box: GpuBox, inbox: SignalInbox) -> None:
    box.add_process(0, 4411, uid=65534, command="python3 train.py")
    told: list[object] = []

    def waiting(*now: object) -> None:
        told.append(now)
        box.remove_process(0, 4411)

    assert len(got(wait_for_gpus(plan_for(2), "run", inbox, waiting))) == 2
    assert len(told) == 1


def test_a_foreign_process_that_comes_between_the_look_and_the_lock_is_noticed(box: GpuBox, inbox: SignalInbox) -> None:
    """The driver takes its time, and they come as soon as the first lock is there."""
    box.delay("nvmlInitWithFlags", 300)

    def come() -> None:
        while not holders(box.uuids[:2]):
            time.sleep(0.005)
        box.add_process(0, 4411, uid=65534, command="python3 train.py")
        box.add_process(1, 4412, uid=65534, command="python3 train.py")

    def waiting(*now: object) -> None:
        assert "pid 4412" in str(now)
        box.remove_process(1, 4412)

    comer = threading.Thread(target=come)
    comer.start()
    assert got(wait_for_gpus(plan_for(1), "run", inbox, waiting)) == (box.uuids[1],)
    comer.join()


def test_a_gpu_that_was_lost_while_a_run_waited_is_not_given_to_it(box: GpuBox, others: Others, inbox: SignalInbox) -> None:
    holder = others.run("a1b2", 2)

    def waiting(*_told: object) -> None:
        if box.state["gpus"][0]["errors"]:
            return
        box.lose(0)
        others.kill(holder)

    assert got(wait_for_gpus(plan_for(1), "run", inbox, waiting)) == (box.uuids[1],)


def test_a_run_that_can_have_no_gpu_any_more_waits_no_longer(box: GpuBox, others: Others, inbox: SignalInbox) -> None:
    others.run("a1b2", 1)
    with pytest.raises(LaunchError, match="not enough GPUs: 2 requested, 1 that fulfil `gpu` are left here"):
        wait_for_gpus(plan_for(2), "run", inbox, lambda *_told: box.lose(0), look_anyway_s=0.05)


def test_a_waiter_that_was_stopped_is_named_by_those_behind_it(box: GpuBox, others: Others, inbox: SignalInbox) -> None:
    holder = others.run("a1b2", 2)
    stopped = others.run("c3d4", 2)
    os.kill(stopped, signal.SIGSTOP)
    others.kill(holder)
    with pytest.raises(LaunchError) as refusal:
        take_gpus_now(plan_for(1), "run", inbox)
    assert "2 about to be taken by run c3d4, which is ahead" in str(refusal.value.hint)


def test_who_only_draws_is_no_stranger(box: GpuBox, inbox: SignalInbox) -> None:
    for gpu in (0, 1):
        box.add_process(gpu, 812, kind="graphics", uid=0, command="/usr/lib/xorg/Xorg", used_bytes=800 << 20)
    assert len(got(wait_for_gpus(plan_for(2), "run", inbox, never_waits))) == 2


def test_memory_that_nobody_explains_is_somebodys(box: GpuBox, inbox: SignalInbox) -> None:
    box.state["gpus"][0]["memory_used"] = 3 << 30
    box.save()
    with pytest.raises(LaunchError) as refusal:
        take_gpus_now(plan_for(2), "run", inbox, leaving_s=0.3)
    assert "3.0 GiB of a process that is not to be seen here" in str(refusal.value.hint)


def test_what_a_killed_run_leaves_is_given_time_to_go(box: GpuBox, inbox: SignalInbox) -> None:
    """Its pid is on the GPU though the process has ended: the driver is still freeing its memory."""
    dead = os.fork()
    if dead == 0:
        os._exit(0)
    os.waitpid(dead, 0)
    box.add_process(0, dead)
    janitor = os.fork()
    if janitor == 0:
        time.sleep(0.4)
        box.remove_process(0, dead)
        os._exit(0)
    assert len(got(take_gpus_now(plan_for(2), "run", inbox))) == 2
    os.waitpid(janitor, 0)


def test_a_gpu_that_falls_ill_while_a_run_waits_for_it_is_said(box: GpuBox, inbox: SignalInbox) -> None:
    box.add_process(0, 4411, uid=65534, command="python3 train.py")
    with pytest.raises(LaunchError, match=r"2 requested, 1 that fulfil `gpu` are left here"):
        wait_for_gpus(plan_for(2), "run", inbox, lambda *_told: box.lose(1))


def test_mig_instances_are_leased_by_profile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, inbox: SignalInbox) -> None:
    made = make_box(tmp_path / "sliced", gpus=2, mig={1: ["1g.10gb", None, "3g.40gb"]})
    made.use(monkeypatch)
    small, large = made.mig_uuids(1)
    first = wait_for_gpus(plan_for(1, wishes=Gpu(mig="any")), "run", inbox, never_waits).lease
    assert first.uuids == (large,)
    second = wait_for_gpus(plan_for(1, wishes=Gpu(mig="any", memory=5 << 30)), "run", inbox, never_waits)
    assert second.lease.uuids == (small,)
    assert [gpu.uuid for gpu in second.gpus] == [made.uuids[1]]
    with pytest.raises(LaunchError, match="0 of 1 free"):
        take_gpus_now(plan_for(1, wishes=Gpu(mig="1g.10gb")), "run", inbox)
    release(first)
    release(second.lease)


def test_amd_gpus_are_leased_by_their_identity(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, inbox: SignalInbox) -> None:
    made = make_box(tmp_path / "amd", installed=False, amd=2)
    made.use(monkeypatch)
    first = wait_for_gpus(plan_for(1), "run", inbox, never_waits).lease
    second = wait_for_gpus(plan_for(1), "run", inbox, never_waits).lease
    assert {*first.uuids, *second.uuids} == set(made.uuids)
    release(first)
    release(second)


def test_where_inotify_is_used_up_it_looks_now_and_then(
    box: GpuBox, others: Others, inbox: SignalInbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    def used_up(*_arguments: object) -> object:
        raise OSError(24, "too many open files")

    monkeypatch.setattr("runtime.kernel.libc.inotify_init", used_up)
    holder = others.run("a1b2", 2)
    assert len(got(wait_for_gpus(plan_for(1), "run", inbox, lambda *_told: others.kill(holder)))) == 1
