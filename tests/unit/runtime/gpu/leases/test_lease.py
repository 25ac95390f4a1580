"""A lease is a lock that dies with its holders; several devices are taken all or none, and a part excludes the whole."""

from __future__ import annotations

import os
import signal
import stat
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from runtime.errors import GpuError
from runtime.gpu.leases.lease import SLOTS, GpuLease, Unit, holders, occupancy, placement_lock, release, take
from runtime.gpu.leases.lock_files import lease_dir, lock_path, write_hint

A, B = Unit("GPU-a"), Unit("GPU-b")
HALF = Unit("GPU-a", slots=SLOTS // 2)
SLICE, OTHER_SLICE = Unit("MIG-1", parent="GPU-a"), Unit("MIG-2", parent="GPU-a")
BY = {"run": "7f3a9c", "user": "alice", "pid": 1, "since": 1.5}


@pytest.fixture
def leases(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LAUNCH_LEASE_DIR", str(tmp_path / "leases"))
    return lease_dir()


@pytest.fixture
def in_another_process(leases: Path) -> Iterator[Callable[..., int]]:
    """Lease units in a process that lives until it is killed; its pid."""
    started: list[int] = []

    def lease(*units: Unit) -> int:
        read_end, write_end = os.pipe()
        pid = os.fork()
        if pid == 0:
            taken = take(leases, units, BY)
            os.write(write_end, b"y" if taken else b"n")
            signal.pause()
        os.close(write_end)
        assert os.read(read_end, 1) == b"y"
        os.close(read_end)
        started.append(pid)
        return pid

    yield lease
    for pid in started:
        with suppress(ProcessLookupError, ChildProcessError):
            end(pid)


def end(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)


def taken(directory: Path, *units: Unit) -> GpuLease:
    lease = take(directory, units, BY)
    assert lease is not None
    return lease


def test_the_devices_are_held_and_named(leases: Path) -> None:
    lease = taken(leases, B, A)
    assert lease.uuids == ("GPU-a", "GPU-b")
    assert lease.shares == (1.0, 1.0)
    found = holders(["GPU-a", "GPU-b", "GPU-c"])
    assert {"GPU-a", "GPU-b"} == found.keys()
    assert [("7f3a9c", "alice", 1.5)] == [(one.run, one.user, one.since) for one in found["GPU-a"]]
    release(lease)
    assert holders(["GPU-a", "GPU-b"]) == {}


def test_several_are_taken_all_or_none(leases: Path) -> None:
    taken(leases, B)
    assert take(leases, [A, B], BY) is None
    assert holders(["GPU-a"]) == {}


def test_a_lease_ends_with_a_holder_that_was_killed(leases: Path, in_another_process: Callable[..., int]) -> None:
    holder = in_another_process(A)
    assert take(leases, [A], BY) is None
    end(holder)
    assert take(leases, [A], BY) is not None


def test_a_lease_lives_as_long_as_any_that_inherited_it(leases: Path) -> None:
    """The supervisor is killed, its container's init goes on: the device is still leased."""
    lease = taken(leases, A)
    inits = os.fork()
    if inits == 0:
        signal.pause()
    for fd in lease.fds:
        os.close(fd)
    assert take(leases, [A], BY) is None
    end(inits)
    assert take(leases, [A], BY) is not None


def test_a_released_lease_is_free_whoever_inherited_it(leases: Path) -> None:
    lease = taken(leases, A)
    stray = os.fork()
    if stray == 0:
        signal.pause()
    release(lease)
    assert take(leases, [A], BY) is not None
    end(stray)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        pytest.param(A, A, id="whole, whole"),
        pytest.param(A, HALF, id="whole, part"),
        pytest.param(HALF, A, id="part, whole"),
        pytest.param(A, SLICE, id="whole, MIG instance"),
        pytest.param(SLICE, A, id="MIG instance, whole"),
        pytest.param(SLICE, SLICE, id="the same MIG instance"),
    ],
)
def test_what_excludes_what(leases: Path, first: Unit, second: Unit) -> None:
    lease = taken(leases, first)
    assert take(leases, [second], BY) is None
    release(lease)
    assert take(leases, [second], BY) is not None


def test_mig_instances_of_one_gpu_are_leased_side_by_side(leases: Path) -> None:
    assert taken(leases, SLICE)
    assert taken(leases, OTHER_SLICE)


def test_parts_share_a_gpu_until_it_is_full(leases: Path) -> None:
    first, second = taken(leases, HALF), taken(leases, Unit("GPU-a", slots=9))
    assert (first.shares, second.shares) == ((0.5,), (0.45,))
    assert take(leases, [Unit("GPU-a", slots=2)], BY) is None
    assert sorted(one.slots for one in occupancy(leases, "GPU-a").holders) == [19]  # of one run
    taken(leases, Unit("GPU-a", slots=1))
    assert occupancy(leases, "GPU-a").free_slots == 0


def test_parts_of_a_run_are_one_holder(leases: Path) -> None:
    taken(leases, HALF)
    found = occupancy(leases, "GPU-a")
    assert [("7f3a9c", 10)] == [(one.run, one.slots) for one in found.holders]
    assert (found.free_slots, found.in_parts) == (10, True)


def test_files_are_for_every_user_and_never_deleted(leases: Path) -> None:
    before = os.umask(0o077)
    release(taken(leases, A, Unit("GPU-b", slots=1)))
    os.umask(before)
    assert stat.S_IMODE(leases.stat().st_mode) == 0o1777
    assert {0o666} == {stat.S_IMODE(entry.stat().st_mode) for entry in leases.iterdir()}
    assert (leases / "GPU-a.lock").exists()


def test_a_file_that_says_nonsense_is_a_lock_all_the_same(leases: Path) -> None:
    lease = taken(leases, A)
    for nonsense in (b"", b"[]", b'{"run": 3, "since": "x", "pid": true}', b"[" * 10_000, b"\xff\x00"):
        (leases / "GPU-a.lock").write_bytes(nonsense)
        found = occupancy(leases, "GPU-a")
        assert (found.free_slots, found.holders[0].run, found.holders[0].since) == (0, None, None)
    release(lease)


@pytest.mark.parametrize("trap", ["link", "fifo", "directory"])
def test_what_is_no_regular_file_is_named(leases: Path, trap: str) -> None:
    path = leases / "GPU-a.lock"
    if trap == "link":
        path.symlink_to("/etc/passwd")
    elif trap == "fifo":
        os.mkfifo(path)
    else:
        path.mkdir()
    with pytest.raises(GpuError, match=r"GPU-a\.lock"):
        take(leases, [A], BY)


def test_a_uuid_cannot_leave_the_directory(leases: Path) -> None:
    assert lock_path(leases, "../../etc/x").parent == leases


def test_looking_wakes_nobody(leases: Path) -> None:
    """Else those who wait would wake one another for ever."""
    from runtime.kernel.inotify import CLOSE_WRITE, MODIFY, Inotify

    lease = taken(leases, HALF)
    holders([])  # makes the mutex's file
    with Inotify() as changes:
        changes.watch(leases, MODIFY | CLOSE_WRITE)
        with placement_lock(leases):
            assert occupancy(leases, "GPU-a").holders
        holders(["GPU-a", "GPU-b"])
        assert changes.read() == []
        release(lease)
        assert changes.read() != []


def test_a_killed_holder_wakes_who_waits(leases: Path, in_another_process: Callable[..., int]) -> None:
    from runtime.kernel.inotify import CLOSE_WRITE, Inotify

    holder = in_another_process(A)
    with Inotify() as changes:
        changes.watch(leases, CLOSE_WRITE)
        end(holder)
        assert [leases / "GPU-a.lock"] == [event.path for event in changes.read()]


def test_a_directory_that_is_there_goes_before_one_that_could_be_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An ordinary user made the second since it may not write to the first's parent; root then has to use it, too."""

    monkeypatch.delenv("LAUNCH_LEASE_DIR", raising=False)
    first, second = tmp_path / "lock" / "leases", tmp_path / "shm" / "leases"
    second.parent.mkdir()
    assert lease_dir((first, second)) == second
    first.parent.mkdir()
    assert lease_dir((first, second)) == second


def test_a_link_that_somebody_put_in_the_directorys_place_is_not_followed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:

    monkeypatch.delenv("LAUNCH_LEASE_DIR", raising=False)
    link, second = tmp_path / "link", tmp_path / "leases"
    link.symlink_to("/etc")
    assert lease_dir((link, second)) == second


def test_no_place_for_leases_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAUNCH_LEASE_DIR", str(tmp_path / "missing" / "leases"))
    with pytest.raises(GpuError, match="missing/leases"):
        lease_dir()


def test_a_mutex_that_is_not_given_back_is_named(leases: Path) -> None:
    with placement_lock(leases), pytest.raises(GpuError, match=r"queue\.lock"), placement_lock(leases, patience_s=0.05):
        pass


def test_writing_hints_replaces_longer_ones(leases: Path) -> None:
    lease = taken(leases, A)
    write_hint(lease.fds[0], {"run": "x" * 200})
    write_hint(lease.fds[0], {"run": "y"})
    assert occupancy(leases, "GPU-a").holders[0].run == "y"
