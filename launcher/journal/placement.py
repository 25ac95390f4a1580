"""A run in the hands of a cluster: its job, and one beginning of it on a node, as the run's journal tells it (`fencing.py`)."""

from __future__ import annotations

from launcher.journal.events import Acquired, AttemptEnded, Entry, Finished, Placed, Started
from launcher.journal.status import Reason
from runtime.light_typing import NamedTuple


class Job(NamedTuple):
    """What a cluster's engine has the run as."""

    engine: str
    job: str
    is_workers: bool = False
    """Whether the job runs one trial of a sweep after the other, and this run is one of them."""

    def __str__(self) -> str:
        return f"{self.engine} job {self.job}"


class Placement:
    """From its `placed` to the next one's."""

    __slots__ = ("_ended", "_requeued", "acquired", "attempt", "ends", "placed", "started", "token")

    def __init__(self, token: str, placed: Placed) -> None:
        self.token = token
        self.placed = placed
        self.attempt = placed.attempt or 1
        self.started: Started | None = None
        self.acquired: list[Acquired] = []
        self.ends: list[Finished] = []
        self._requeued = False
        self._ended = False

    @property
    def node(self) -> str:
        return str(self.placed.node)

    @property
    def is_over(self) -> bool:
        """Whether nothing of it is left: it has said its last word, or the cluster has ended it on a node that answered."""
        return self._requeued or self._ended

    @property
    def is_open(self) -> bool:
        """Whether its attempt is, in the journal."""
        return not (self._requeued or self.ends)

    def take_in(self, entry: Entry) -> None:
        event = entry.event
        if isinstance(event, Started):
            self.started, self.attempt = event, event.attempt
        elif isinstance(event, Acquired):
            self.acquired.append(event)
        elif isinstance(event, AttemptEnded):
            self._requeued = self._requeued or event.requeued
        elif isinstance(event, Finished):
            self.ends.append(event)
            self._ended = self._ended or entry.token is not None or event.reason != Reason.LOST
