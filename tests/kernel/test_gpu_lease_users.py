"""GPU leases between users of one machine: root and an ordinary user, with `fs.protected_regular` as this machine has it."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from launcher.schedule.device import Device
from launcher.schedule.device_request import DeviceRequest, QueuedRun
from launcher.schedule.queue import queued, read_queue, try_to_place
from runtime.gpu.leases.lease import GpuLease, Unit, holders, release, take
from runtime.gpu.leases.lock_files import lease_dir
from runtime.gpu.topology import Topology

pytestmark = pytest.mark.requires("ordinary-user")

A = Unit("GPU-a")


@pytest.fixture
def leases(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where both may write, as in /run/lock; made by whoever comes first."""
    parent = Path(tempfile.mkdtemp(prefix="leases-of-users-", dir="/dev/shm"))
    parent.chmod(0o1777)
    monkeypatch.setenv("LAUNCH_LEASE_DIR", str(parent / "leases"))
    yield parent / "leases"
    shutil.rmtree(parent)


def become_user() -> None:
    user = pwd.getpwnam("launchtest")
    os.setgroups([])
    os.setresgid(user.pw_gid, user.pw_gid, user.pw_gid)
    os.setresuid(user.pw_uid, user.pw_uid, user.pw_uid)


def as_user(work: Callable[[], object]) -> object:
    """What *work* gives in a process of the ordinary user, as text."""
    read_end, write_end = os.pipe()
    pid = os.fork()
    if pid == 0:
        become_user()
        try:
            answer = repr(work())
        except BaseException as error:
            answer = repr(error)
        os.write(write_end, answer.encode())
        os._exit(0)
    os.close(write_end)
    with os.fdopen(read_end) as answer_file:
        answer = answer_file.read()
    os.waitpid(pid, 0)
    return answer


def can_lease() -> bool:
    lease = take(lease_dir(), [A], {"run": "theirs", "user": "launchtest"})
    if lease is None:
        return False
    release(lease)
    return True


def test_what_root_holds_no_user_gets_and_then_it_may(leases: Path) -> None:
    lease = take(lease_dir(), [A], {"run": "roots", "user": "root"})
    assert isinstance(lease, GpuLease)
    assert as_user(can_lease) == "False"
    assert as_user(lambda: holders(["GPU-a"])["GPU-a"][0].run) == "'roots'"
    release(lease)
    assert as_user(can_lease) == "True"


def test_root_uses_the_directory_and_the_files_that_a_user_made(leases: Path) -> None:
    assert as_user(can_lease) == "True"
    assert pwd.getpwuid(leases.stat().st_uid).pw_name == "launchtest"
    assert can_lease()


def test_both_stand_in_one_line(leases: Path) -> None:
    held = take(lease_dir(), [A], {"run": "roots"})
    assert held is not None
    ready, tell = os.pipe()
    pid = os.fork()
    if pid == 0:
        become_user()
        with queued(lease_dir(), QueuedRun(DeviceRequest(("GPU-a",)), run="theirs", user="launchtest", pid=os.getpid())):
            os.write(tell, b"x")
            signal.pause()
    assert os.read(ready, 1) == b"x"
    release(held)
    assert [entry.run for entry in read_queue(leases)] == ["theirs"]
    mine = QueuedRun(DeviceRequest(("GPU-a",)), run="mine", pid=os.getpid())
    attempt = try_to_place(leases, mine, [Device("GPU-a")], Topology(), foreign_use=lambda _occupied: {})
    assert (attempt.lease, attempt.decision.place, attempt.decision.of) == (None, 2, 2)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
