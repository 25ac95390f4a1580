"""One worker job, as the sweep's process sees it."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from launcher.cluster.trials.exchange import WorkerDir, look_pause_s, write_line
from launcher.journal.journal import Event, Follower, read
from launcher.journal.submitted import Job

_IN_LINE_S = 2.0
"""The longest pause between two looks at what a worker has said that hasn't begun, which may take days."""


@dataclass(slots=True)
class WorkerJob:
    """From its submission to the end of its job."""

    directory: WorkerDir
    job: Job
    shape: str
    """Which trials it can run: those that ask the cluster for the same."""
    current: str | None = None
    """The run that it has been given and that isn't free yet."""
    given: int = 0
    """Trials that it has been given so far."""
    node: str | None = None
    until: float | None = None
    """When its job's time ends (Unix seconds), if that is known."""
    left: str | None = None
    """Why it takes no more trials."""
    sent_away: bool = False
    is_over: bool = False
    """Whether its job is."""
    ended: set[str] = field(default_factory=set)
    """Runs whose supervisors have ended, too."""
    since: float = field(default_factory=time.monotonic)
    """When it came to what it does now: it waits in line, is idle, or runs a trial."""
    _next_look: float = 0.0
    _said: Follower = field(init=False)

    def __post_init__(self) -> None:
        self._said = Follower(self.directory.said)

    @property
    def has_begun(self) -> bool:
        return self.node is not None

    @property
    def is_staying(self) -> bool:
        """Whether it runs, or will run, one more trial."""
        return not (self.is_over or self.left or self.sent_away)

    @property
    def is_idle(self) -> bool:
        return self.is_staying and self.has_begun and self.current is None

    def idle_s(self) -> float:
        return time.monotonic() - self.since if self.is_idle else 0.0

    def has_time_for(self, seconds: float) -> bool:
        """Whether a trial of so long would end before the job's time does. Its first has whatever there is."""
        return self.until is None or not self.given or time.time() + seconds < self.until

    def give(self, run_id: str) -> None:
        write_line(self.directory.orders, "run", run=run_id)
        self._is_given(run_id)

    def send_away(self) -> None:
        write_line(self.directory.orders, "leave")
        self.sent_away = True

    def close(self) -> None:
        """Its job is over, for whoever goes on with the sweep, too."""
        write_line(self.directory.orders, "over")
        self.is_over = True

    def hear(self, *, now: bool = False) -> list[Event]:
        """What it has said since the last time; unless *now*, only when it is time to look again."""
        moment = time.monotonic()
        if not now and moment < self._next_look:
            return []
        events = self._said.new_events()
        for event in events:
            self._take_in(event)
        quiet_s = moment - self.since
        self._next_look = moment + (look_pause_s(quiet_s) if self.has_begun else look_pause_s(quiet_s, longest_s=_IN_LINE_S))
        return events

    def next_look_s(self) -> float:
        return max(0.0, self._next_look - time.monotonic())

    def _take_in(self, event: Event) -> None:
        if event.name == "began":
            self.node, self.until, self.since = str(event.get("node")), event.get("until"), time.monotonic()
        elif event.name == "free" and event.get("run") == self.current:
            self.current, self.since = None, time.monotonic()
        elif event.name == "over":
            self.ended.add(str(event.get("run")))
        elif event.name == "left":
            self.left = str(event.get("why"))

    def _is_given(self, run_id: str) -> None:
        self.current, self.since = run_id, time.monotonic()
        self.given += 1
        self._next_look = 0.0


def submitted_worker(directory: WorkerDir, engine: str, job: str, shape: str) -> WorkerJob:
    """A worker that *job* will be."""
    write_line(directory.orders, "submitted", engine=engine, job=job, shape=shape)
    return WorkerJob(directory, _job(engine, job), shape)


def read_worker(directory: WorkerDir) -> WorkerJob | None:
    """A worker that an earlier process of the sweep has submitted; None for one that never was."""
    worker = None
    for order in read(directory.orders):
        if order.name == "submitted":
            worker = WorkerJob(directory, _job(str(order.get("engine")), str(order.get("job"))), str(order.get("shape")))
        elif worker is not None and order.name == "run":
            worker._is_given(str(order.get("run")))
        elif worker is not None and order.name == "leave":
            worker.sent_away = True
        elif worker is not None and order.name == "over":
            worker.is_over = True
    if worker is not None:
        worker.hear(now=True)
    return worker


def _job(engine: str, job: str) -> Job:
    return Job(engine, job, is_workers=True)
