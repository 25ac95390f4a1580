"""The job that a cluster's engine has for a run: from `submitted` to `finished` the run is the job's, wherever that is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from launcher.tracking.journal import Event, since_resumed


@dataclass(frozen=True, slots=True)
class Job:
    """Where a run was put in line."""

    engine: str
    job: str

    def __str__(self) -> str:
        return f"{self.engine} job {self.job}"


def job_of(events: Sequence[Event]) -> Job | None:
    """The job that the run of these *events* is in the hands of; None for a run of this machine and one that has ended."""
    current = since_resumed(events)
    if any(event.name == "finished" for event in current):
        return None
    submitted = [event for event in current if event.name == "submitted"]
    return Job(str(submitted[-1].get("engine")), str(submitted[-1].get("job"))) if submitted else None


def is_elsewhere(events: Sequence[Event]) -> bool:
    """Whether the run's job began on another machine than the one whose MLflow server (a local one) it belongs to."""
    current = since_resumed(events)
    begun = [event.get("host") for event in current if event.name == "placed"]
    return bool(begun) and begun[-1] != next((event.get("host") for event in events if event.name == "created"), None)
