"""The job that a cluster's engine has for a run: from `submitted` to `finished` the run is the job's, wherever that is."""

from __future__ import annotations

from collections.abc import Sequence

from launcher.journal.journal import Event, since_resumed
from launcher.journal.run_state import Job as Job


def job_of(events: Sequence[Event]) -> Job | None:
    """The job that the run of these *events* is in the hands of; None for a run of this machine and one that has ended."""
    current = since_resumed(events)
    if any(event.name == "finished" for event in current):
        return None
    submitted = [event for event in current if event.name == "submitted"]
    if not submitted:
        return None
    last = submitted[-1]
    return Job(str(last.get("engine")), str(last.get("job")), is_workers=bool(last.get("worker")))
