"""What a cluster's engine must be able to do, and how it tells of a job. Slurm's is `slurm.py`.

An engine places one supervisor on one node and is asked about it; all else of a run (journal, logs, record) is that of a run on
this machine, in a directory that both machines see. Another engine (Kubernetes, Ray) is another class with these methods, and a
program for its nodes that does what `job.py` does.
"""

from __future__ import annotations

import signal
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol


class JobPhase(StrEnum):
    PENDING = "pending"
    RUNNING = "running"
    ENDING = "ending"
    ENDED = "ended"


class JobEnd(StrEnum):
    """Why a job is over, in the engine's view."""

    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"
    TIMEOUT = "timeout"
    OUT_OF_MEMORY = "out of memory"
    NODE_FAILED = "node failed"
    PREEMPTED = "preempted"
    UNKNOWN = "unknown"
    """The engine has forgotten the job: it is over, and nobody says how."""


@dataclass(frozen=True, slots=True)
class JobStatus:
    job: str
    phase: JobPhase
    why: str | None = None
    """What it waits for, or what the engine says of its end; in the engine's words."""
    nodes: str | None = None
    attempt: int = 1
    """How often the engine has begun it."""
    preempted: bool = False
    """Whether the engine has taken its place away, or has announced that it will."""
    end: JobEnd | None = None
    exit_code: int | None = None
    signal: int | None = None

    @property
    def is_over(self) -> bool:
        return self.phase is JobPhase.ENDED


class Engine(Protocol):
    """One scheduler. Raises LaunchError with the scheduler's own words when it refuses or doesn't answer."""

    @property
    def name(self) -> str: ...

    def submit(self, script: str) -> str:
        """Put *script* in the queue. Returns the job's id."""
        ...

    def poll(self, jobs: Iterable[str]) -> Mapping[str, JobStatus]:
        """How each of *jobs* stands; one that nobody knows any more has ended, `JobEnd.UNKNOWN`."""
        ...

    def signal(self, job: str, signum: signal.Signals) -> None:
        """Send *signum* to the supervisor of a job that runs, and to nothing else of it. One that waits is cancelled."""
        ...

    def cancel(self, *jobs: str) -> None:
        """End everything of *jobs*, now."""
        ...

    def requeue(self, job: str) -> None:
        """Put *job*, which runs, in the queue again; what runs of it is ended."""
        ...
