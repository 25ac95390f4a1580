"""Leases of a real GPU: who comes second, what a killed launcher and a killed job leave, who is there from outside."""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from programs import HERE, cuda_work, line, program, within

from runtime.gpu.gpu import Gpu
from runtime.gpu.inventory import read_gpus
from runtime.gpu.leases.lease import holders

pytestmark = pytest.mark.gpu

HANDED_ON_S, LEFT_S = 2.0, 10.0


@pytest.fixture(autouse=True)
def leases(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Apart from those of whoever works on this machine."""
    monkeypatch.setenv("LAUNCH_LEASE_DIR", str(tmp_path / "leases"))


def sleeps(seconds: float) -> tuple[str, ...]:
    return (sys.executable, "-c", f"import time; time.sleep({seconds})")


def computes(uuid: str, seconds: float) -> tuple[str, ...]:
    """A job that computes, or sleeps where this machine's libcuda can't compute."""
    with program("cuda_work.py", "burn", "0", one_gpu=uuid) as tried:
        can = line(tried) == "ready"
    return (sys.executable, str(HERE / "cuda_work.py"), "burn", str(seconds)) if can else sleeps(seconds)


def now(gpu: Gpu) -> Gpu:
    return next(one for one in read_gpus() if one.uuid == gpu.uuid)


def test_the_second_gets_it_soon_after_the_first_has_ended(gpus: tuple[Gpu, ...], evidence: dict[str, Any]) -> None:
    uuid = str(gpus[0].uuid)
    with program("lessee.py", "aaaa01", *sleeps(60), one_gpu=uuid) as first:
        assert line(first) == f"leased {uuid}"
        job = int(line(first).split()[1])
        with program("lessee.py", "bbbb02", one_gpu=uuid) as second:
            evidence["says"] = waits = line(second)
            assert waits.startswith("waiting: 1 1 1 GPU: 0 of 1 free; 1 held by run aaaa01")
            os.kill(job, signal.SIGTERM)
            assert line(first) == "ended -15"
            started = time.monotonic()
            assert line(second) == f"leased {uuid}"
            evidence["handed_on_s"] = round(time.monotonic() - started, 3)
            assert evidence["handed_on_s"] < HANDED_ON_S


def test_a_killed_launcher_frees_nothing_while_its_job_lives(gpus: tuple[Gpu, ...], evidence: dict[str, Any]) -> None:
    uuid = str(gpus[0].uuid)
    command = computes(uuid, 60)
    evidence["job"] = command[1:3]
    with program("lessee.py", "aaaa01", *command, one_gpu=uuid) as first:
        assert line(first) == f"leased {uuid}"
        job = int(line(first).split()[1])
        first.kill()
        first.wait()
        assert [holder.run for holder in holders([uuid])[uuid]] == ["aaaa01"]
        with program("lessee.py", "bbbb02", one_gpu=uuid) as second:
            assert line(second).startswith("waiting:")
            os.kill(job, signal.SIGKILL)
            started = time.monotonic()
            while not (said := line(second)).startswith("leased"):
                assert said.startswith("waiting:")
            evidence["handed_on_s"] = round(time.monotonic() - started, 3)
            assert evidence["handed_on_s"] < LEFT_S


def test_two_halves_share_it_and_who_wants_the_whole_waits_for_both(gpus: tuple[Gpu, ...]) -> None:
    uuid = str(gpus[0].uuid)
    one, other = (program("lessee.py", f"{run}:0.5", *sleeps(60), one_gpu=uuid) for run in ("aaaa01", "bbbb02"))
    with one as first, other as second:
        assert [f"leased {uuid}"] * 2 == [line(first), line(second)]
        with program("lessee.py", "cccc03", one_gpu=uuid) as third:
            assert line(third).startswith("waiting:")
            for half in (first, second):
                os.kill(int(line(half).split()[1]), signal.SIGTERM)
            while not (said := line(third)).startswith("leased"):
                assert said.startswith("waiting:")


def test_a_stopped_job_keeps_its_lease(gpus: tuple[Gpu, ...]) -> None:
    uuid = str(gpus[0].uuid)
    with program("lessee.py", "aaaa01", *sleeps(60), one_gpu=uuid) as first:
        assert line(first) == f"leased {uuid}"
        job = int(line(first).split()[1])
        os.kill(job, signal.SIGSTOP)
        first.kill()
        first.wait()
        try:
            with program("lessee.py", "bbbb02", one_gpu=uuid) as second:
                assert line(second).startswith("waiting:")
        finally:
            os.kill(job, signal.SIGKILL)


def test_a_process_from_outside_is_seen_and_respected(gpus: tuple[Gpu, ...], evidence: dict[str, Any]) -> None:
    uuid = str(gpus[0].uuid)
    with cuda_work(uuid, "hold", str(2 << 30), "60") as outside:
        found = now(gpus[0])
        evidence |= {"processes": str(found.processes), "used": found.used_bytes, "pid": outside.pid}
        assert (found.used_bytes or 0) > 2 << 30
        with program("lessee.py", "aaaa01", one_gpu=uuid) as launcher:
            evidence["says"] = waits = line(launcher)
            assert waits.startswith("waiting: 1 1 1 GPU: 0 of 1 free")
            if os.stat("/proc/self/ns/pid").st_ino == 0xEFFFFFFC:  # else NVML tells pids that are not ours
                assert f"pid {outside.pid} " in waits
                assert [outside.pid] == [one.pid for one in found.processes]


def test_the_memory_of_a_killed_process_is_waited_for(gpus: tuple[Gpu, ...], evidence: dict[str, Any]) -> None:
    gpu = now(gpus[0])
    much = int(0.85 * ((gpu.memory_bytes or 0) - (gpu.used_bytes or 0)))
    with cuda_work(gpu.uuid, "hold", str(much), "60") as holder:
        held = now(gpu).used_bytes or 0
        assert held >= much
        holder.kill()
        evidence |= {"bytes": much, "freed_after_s": within(LEFT_S, lambda: (now(gpu).used_bytes or 0) < held - much // 2)}
    assert evidence["freed_after_s"] is not None
    with program("lessee.py", "aaaa01", one_gpu=gpu.uuid) as launcher:
        while not (said := line(launcher)).startswith("leased"):
            assert said.startswith("waiting:")
