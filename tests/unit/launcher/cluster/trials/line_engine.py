"""An engine that is a dictionary."""

from __future__ import annotations

from collections.abc import Iterable

from launcher.cluster.engine import JobEnd, JobPhase, JobStatus
from launcher.errors import LaunchError


class Line:
    """Its jobs stand where the test puts them."""

    name = "line"

    def __init__(self) -> None:
        self.jobs: dict[str, JobStatus] = {}
        self.cancelled: list[str] = []
        self.refuses = False

    def submit(self, script: str) -> str:
        if self.refuses:
            raise LaunchError("too many jobs")
        job = str(len(self.jobs) + 1)
        self.jobs[job] = JobStatus(job, JobPhase.PENDING, why="Resources")
        return job

    def poll(self, jobs: Iterable[str]) -> dict[str, JobStatus]:
        return {job: self.jobs[job] for job in jobs}

    def cancel(self, *jobs: str) -> None:
        if self.refuses:
            raise LaunchError("too many jobs")
        self.cancelled += jobs

    def end(self, job: str, end: JobEnd) -> None:
        self.jobs[job] = JobStatus(job, JobPhase.ENDED, end=end)
