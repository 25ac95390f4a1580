"""Launchers that race for the GPUs of one machine, and an independent witness of every collision.

A racer is what a supervisor is to the lease: it waits in the line, holds it, forks a job that holds it too (as the container's
init does) and releases it when the job has ended. While a job runs it holds the witness: record locks (fcntl(2)) on as many of a
device's bytes as it has slots. They are no flocks and the kernel drops them before those, so whoever finds a byte taken has been
given what somebody else uses.
"""

from __future__ import annotations

import fcntl
import os
import time
from pathlib import Path
from types import SimpleNamespace
from typing import NoReturn, cast

from launcher.config.spec import Cluster, ExperimentSpec, Gpu
from launcher.plan.launch_plan import LaunchPlan
from launcher.run.gpus.gpu_queue import GpuPlacement, wait_for_gpus
from launcher.run.supervisor.signal_inbox import SignalInbox
from runtime.gpu.leases.lease import SLOTS, release


def plan_for(gpus: float, *, priority: int = 0, timeout: float | None = None, wishes: Gpu | None = None) -> LaunchPlan:
    """As much of a plan as waiting for GPUs looks at."""
    cluster = Cluster(priority=priority)
    spec = ExperimentSpec(
        name="x", command=("true",), gpus=gpus, gpu=wishes or Gpu(), cluster=cluster, timeout=timeout, grace=0.0
    )
    return cast(LaunchPlan, SimpleNamespace(spec=spec, gpus=gpus))


class Course:
    """Where racers of one race leave their traces."""

    def __init__(self, directory: Path) -> None:
        self.witness = directory / "witness"
        self.collisions = directory / "collisions"
        self.jobs = directory / "jobs"
        self.witness.mkdir()
        self.collisions.touch()
        self.jobs.touch()

    def start(self, name: str, plan: LaunchPlan, *, works_s: float) -> int:
        """Fork a racer. Its exit code is 0 when it got what it wanted and its job ended."""
        pid = os.fork()
        if pid == 0:
            try:
                self._race(name, plan, works_s)
            finally:
                os._exit(70)
        return pid

    def _race(self, name: str, plan: LaunchPlan, works_s: float) -> NoReturn:
        got = wait_for_gpus(plan, name, SignalInbox(()), lambda *_told: None)
        job = os.fork()
        if job == 0:
            self._work(got, works_s)
            os._exit(0)
        os.waitpid(job, 0)
        release(got.lease)
        os._exit(0)

    def _work(self, got: GpuPlacement, works_s: float) -> None:
        _append(self.jobs, str(os.getpid()))
        for uuid, share in zip(got.lease.uuids, got.lease.shares, strict=True):
            if not self._is_ours(uuid, round(share * SLOTS)):
                _append(self.collisions, uuid)
        time.sleep(works_s)

    def _is_ours(self, uuid: str, slots: int) -> bool:
        """Hold *slots* bytes of the device's witness until this process ends; False when others have too many of them."""
        fd = os.open(self.witness / uuid, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        for byte in range(SLOTS):
            try:
                fcntl.lockf(fd, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, byte)
            except BlockingIOError:
                continue
            slots -= 1
            if slots == 0:
                return True
        return False


def _append(path: Path, line: str) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_APPEND)
    os.write(fd, f"{line}\n".encode())
    os.close(fd)
