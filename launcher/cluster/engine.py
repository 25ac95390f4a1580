"""What a cluster's engine must be able to do, what it says of a job, and how often it is polled. Slurm's is `slurm.py`.

An engine places one supervisor on one node and is asked about it; all else of a run (journal, logs, record) is that of a run on
this machine, in a directory that both machines see. Another engine (Kubernetes, Ray) is another class with these methods, and a
program for its nodes that does what `job.py` does.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterable, Mapping
from enum import StrEnum
from typing import Protocol

from runtime.light_dataclasses import dataclass

_SHORTEST_PAUSE_S, _LONGEST_PAUSE_S = 1.0, 10.0
_GROWTH = 1.5


class JobPhase(StrEnum):
    PENDING = "pending"
    RUNNING = "running"
    SUSPENDED = "suspended"
    """Its processes stand still until somebody resumes it, and hear nothing."""
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
    """The engine has forgotten the job: it is over, and how is not known."""


@dataclass(frozen=True, slots=True)
class JobStatus:
    job: str
    phase: JobPhase
    why: str | None = None
    """What it waits for, or what the engine says of its end; in the engine's words."""
    advice: str | None = None
    """What to do about a job that waits in vain."""
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

    def refusal(self, script: str) -> str | None:
        """In the scheduler's words why it would not take *script* as things are; None where it would, or does not say."""
        ...

    def poll(self, jobs: Iterable[str]) -> Mapping[str, JobStatus]:
        """How each of *jobs* stands; one that the engine has forgotten has ended, `JobEnd.UNKNOWN`."""
        ...

    def signal(self, job: str, signum: signal.Signals) -> None:
        """Send *signum* to the supervisor of a job that runs, and to nothing else of it. One that waits or stands still is
        cancelled."""
        ...

    def cancel(self, *jobs: str) -> None:
        """End everything of *jobs*, now."""
        ...

    def requeue(self, job: str) -> None:
        """Put *job*, which runs, in the queue again; what runs of it is ended."""
        ...


class PollPace:
    """When to poll an engine again, whose controller has thousands of jobs to answer for: after a second at first, then each time
    after half as long again, up to ten."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._pause_s = _SHORTEST_PAUSE_S
        self._due_at = clock() + _SHORTEST_PAUSE_S

    def is_due(self) -> bool:
        return self._clock() >= self._due_at

    def note_poll(self) -> None:
        """The engine was polled, whether it answered or not."""
        self._pause_s = min(_LONGEST_PAUSE_S, self._pause_s * _GROWTH)
        self._due_at = self._clock() + self._pause_s

    def restart(self) -> None:
        """Something has happened of which the engine will know in a moment: from here on as at first."""
        self._pause_s, self._due_at = _SHORTEST_PAUSE_S, self._clock() + _SHORTEST_PAUSE_S

    def make_due(self) -> None:
        """The next poll is due, and the pauses after it are as at first."""
        self._pause_s, self._due_at = _SHORTEST_PAUSE_S, 0.0
