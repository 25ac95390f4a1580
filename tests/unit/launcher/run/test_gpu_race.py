"""Twelve launchers race for the eight GPUs of one machine, are killed at any moment, and never share a device that is not shared.

LAUNCH_RACE_ROUNDS says how many launchers run in all (pytest -s shows what became of them).
"""

from __future__ import annotations

import os
import random
import select
import signal
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import pytest
from gpu_box import GpuBox, make_box
from gpu_racers import Course, plan_for

import runtime.gpu.nvidia.nvml
import runtime.gpu.topology  # noqa: F401  racers are forks of this process, and shall import nothing
from runtime.gpu.leases.lease import holders

RACERS = 12
LAUNCHES = int(os.environ.get("LAUNCH_RACE_ROUNDS", "60"))
WANTED = (1, 1, 1, 2, 2, 4, 4, 8, 0.5, 0.5, 0.25)

pytestmark = pytest.mark.requires("cc")


@pytest.fixture
def box(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> GpuBox:
    import pynvml  # noqa: F401

    made = make_box(tmp_path / "box", gpus=8, topology="pairs")
    made.use(monkeypatch)
    return made


class Race:
    """Keeps RACERS launchers running, and kills some of them and of their jobs."""

    def __init__(self, course: Course, chance: random.Random, wanted: Sequence[float]) -> None:
        self.course, self.chance, self.wanted = course, chance, wanted
        self.running: dict[int, float | None] = {}
        """pid → when it will be killed."""
        self.ends: Counter[str] = Counter()
        self.jobs_seen = 0

    def run(self, launches: int, *, within_s: float) -> None:
        try:
            self._run(launches, time.monotonic() + within_s)
        finally:
            for pid in self.running:
                os.kill(pid, signal.SIGKILL)
                os.waitpid(pid, 0)
        print(dict(self.ends), f"{self.jobs_seen} jobs")

    def _run(self, launches: int, deadline: float) -> None:
        started = 0
        while started < launches or self.running:
            assert time.monotonic() < deadline, f"{len(self.running)} of {started} launchers are stuck: {dict(self.ends)}"
            while started < launches and len(self.running) < RACERS:
                self._start(f"{started:06x}")
                started += 1
            select.select([], [], [], 0.005)
            self._kill()
            self._reap()

    def _start(self, name: str) -> None:
        wanted = plan_for(self.chance.choice(self.wanted), priority=self.chance.choice((0, 0, 0, 5)))
        pid = self.course.start(name, wanted, works_s=self.chance.uniform(0, 0.05))
        self.running[pid] = time.monotonic() + self.chance.uniform(0, 0.4) if self.chance.random() < 0.4 else None

    def _kill(self) -> None:
        for pid, at in self.running.items():
            if at is not None and time.monotonic() > at:
                os.kill(pid, signal.SIGKILL)
        jobs = self.course.jobs.read_text().split()
        for job in jobs[self.jobs_seen :]:
            if self.chance.random() < 0.2:
                with suppress(ProcessLookupError):
                    os.kill(int(job), signal.SIGKILL)
                    self.ends["jobs killed"] += 1
        self.jobs_seen = len(jobs)

    def _reap(self) -> None:
        for pid in list(self.running):
            ended, status = os.waitpid(pid, os.WNOHANG)
            if ended:
                del self.running[pid]
                self.ends["killed" if os.WIFSIGNALED(status) else f"ended with {os.waitstatus_to_exitcode(status)}"] += 1


def test_racing_launchers_never_share_a_device(box: GpuBox, tmp_path: Path) -> None:
    course = Course(tmp_path)
    race = Race(course, random.Random(LAUNCHES), WANTED)
    race.run(LAUNCHES, within_s=60 + LAUNCHES)
    assert course.collisions.read_text() == ""
    assert {"killed", "ended with 0", "jobs killed"} >= race.ends.keys()
    assert race.ends["killed"] > 0
    assert len(list(course.witness.iterdir())) <= len(box.uuids)
    _wait_until_nobody_holds(box.uuids)


def test_racing_beside_a_stranger_nobody_takes_its_gpu_or_waits_for_one_who_does(box: GpuBox, tmp_path: Path) -> None:
    box.add_process(7, os.getpid())
    course = Course(tmp_path)
    for_all_eight = course.start("all", plan_for(8), works_s=0)
    race = Race(course, random.Random(LAUNCHES), [gpus for gpus in WANTED if gpus < 8])
    try:
        race.run(LAUNCHES // 4, within_s=60 + LAUNCHES)
        assert os.waitpid(for_all_eight, os.WNOHANG) == (0, 0)
    finally:
        os.kill(for_all_eight, signal.SIGKILL)
        os.waitpid(for_all_eight, 0)
    assert course.collisions.read_text() == ""
    assert race.ends["ended with 0"] > 0
    assert not (course.witness / box.uuids[7]).exists()
    _wait_until_nobody_holds(box.uuids)


def _wait_until_nobody_holds(uuids: tuple[str, ...]) -> None:
    """Jobs whose launcher was killed hold on a little longer."""
    deadline = time.monotonic() + 5
    while (held := holders(uuids)) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert held == {}
