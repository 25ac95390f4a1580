"""A lease is a lock that dies with its holders; several GPUs are taken all or none."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from runtime.gpu.lease import holders, lease_gpus


@pytest.fixture(autouse=True)
def lease_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LAUNCH_LEASE_DIR", str(tmp_path / "leases"))
    return tmp_path / "leases"


@pytest.fixture
def other_holder() -> Iterator[int]:
    """A process that holds GPU-a until it is killed; its pid."""
    read_end, write_end = os.pipe()
    pid = os.fork()
    if pid == 0:
        with lease_gpus(lambda: ["GPU-a"], 1, holder="other"):
            os.write(write_end, b"x")
            time.sleep(60)
        os._exit(0)
    os.read(read_end, 1)
    os.close(read_end)
    os.close(write_end)
    yield pid
    with contextlib.suppress(ProcessLookupError, ChildProcessError):
        end(pid)


def end(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)


def test_the_uuids_are_held_and_named() -> None:
    with lease_gpus(lambda: ["GPU-b", "GPU-a"], 2, holder="7f3a9c") as lease:
        assert ("GPU-a", "GPU-b") == lease.uuids
        assert {"GPU-a", "GPU-b"} == holders(["GPU-a", "GPU-b", "GPU-c"]).keys()
        assert holders(["GPU-a"])["GPU-a"]["run"] == "7f3a9c"
    assert {} == holders(["GPU-a", "GPU-b"])


def test_a_held_gpu_is_passed_over() -> None:
    with (
        lease_gpus(lambda: ["GPU-a", "GPU-b"], 1, holder="one") as first,
        lease_gpus(lambda: ["GPU-a", "GPU-b"], 1, holder="two") as second,
    ):
        assert (("GPU-a",), ("GPU-b",)) == (first.uuids, second.uuids)


def test_a_lease_ends_with_a_holder_that_was_killed(other_holder: int) -> None:
    assert "GPU-a" in holders(["GPU-a"])
    end(other_holder)
    waited: list[int] = []
    with lease_gpus(lambda: ["GPU-a"], 1, holder="next", waiting=lambda: waited.append(1)) as lease:
        assert ("GPU-a",) == lease.uuids
    assert [] == waited


def test_waiting_is_announced_once_and_ends_when_a_gpu_is_free(other_holder: int) -> None:
    waited: list[int] = []

    def other_ends() -> None:
        waited.append(1)
        end(other_holder)

    with lease_gpus(lambda: ["GPU-a"], 1, holder="second", waiting=other_ends) as lease:
        assert ("GPU-a",) == lease.uuids
    assert [1] == waited


def test_files_are_for_every_user_and_never_deleted(lease_directory: Path) -> None:
    with lease_gpus(lambda: ["GPU-a"], 1, holder="run"):
        pass
    assert 0o1777 == lease_directory.stat().st_mode & 0o7777
    assert 0o666 == (lease_directory / "GPU-a.lock").stat().st_mode & 0o777


def test_giving_up_while_waiting_leaves_the_line_to_the_next(other_holder: int) -> None:
    class GaveUp(Exception):
        pass

    def give_up(_seconds: float) -> None:
        raise GaveUp

    with pytest.raises(GaveUp), lease_gpus(lambda: ["GPU-a"], 1, holder="impatient", pause=give_up):
        pass
    with lease_gpus(lambda: ["GPU-b"], 1, holder="next", pause=give_up) as lease:
        assert ("GPU-b",) == lease.uuids
