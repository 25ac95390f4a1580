"""What a run is, folded from its journal event by event: the one place that knows what events mean together.

A run may have several *lives* (`launch resume` begins another one after an end), each of them several *attempts* (`retries`, a
job that its cluster begins again), and on a cluster *placements*. What is said of one of them is forgotten when the next begins;
what is said of the run stays.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from launcher.journal import events
from launcher.journal.events import (
    Acquired,
    AttemptEnded,
    Building,
    Created,
    Entry,
    Event,
    Finished,
    FirstOutput,
    GpusAway,
    Leased,
    Mlflow,
    NodeEnded,
    NodeJoined,
    Note,
    Paused,
    Placed,
    Queued,
    Resumed,
    Started,
    Stopping,
    Submitted,
    Unknown,
    Unpaused,
    Waiting,
)
from launcher.journal.fencing import Fence
from launcher.journal.placement import Job, Placement
from launcher.journal.status import Reason, RunStatus, Stage

_PHASES = (Created, Building, Submitted, Placed, Queued, Started, FirstOutput, AttemptEnded, Stopping, Finished, Resumed)
"""Events after which a run is somewhere else than before."""


class RunState:
    """A run as it is after the entries that were taken in. Only `take_in` changes its attributes. Times are Unix seconds."""

    def __init__(self) -> None:
        self._fence = Fence()
        # Of the run
        self.created: Created | None = None
        """None: there is no journal yet, and no run."""
        self.created_at = 0.0
        self.last_at = 0.0
        self.image_digest: str | None = None
        self.mlflow: Mlflow | None = None
        self.facts: dict[str, Any] = {}
        self.usage: Mapping[str, Any] | None = None
        self.notes: list[str] = []
        self.unknown: list[Unknown] = []
        self.acquired: list[Acquired] = []
        self.struck: list[tuple[str, int]] = []
        """GPUs of which the driver reported an error, with its Xid."""
        self.host: str | None = None
        self.last_job: str | None = None
        """Also of a run that has ended."""
        self.gpus: tuple[str, ...] = ()
        self.ports: tuple[str, ...] = ()
        self.attempt = 1
        self.first_started_at: float | None = None
        self.placements: list[Placement] = []
        self.superseded: set[str] = set()
        """Placements that can write into the run no more."""
        self.ended_before: Finished | None = None
        """The end of an earlier life."""
        self.was_paused = False
        """Whether it has ever been paused."""
        self._attempts_and_lives = 1
        self._ran_s = 0.0
        self._gpu_s = 0.0
        self._held_since: tuple[float, float] | None = None
        self._begin_life(None, 0.0)

    def _begin_life(self, begun: Created | Resumed | None, at: float) -> None:
        self.begun = begun
        """What began this life, with the process that did."""
        self.finished: Finished | None = None
        self.finished_at: float | None = None
        self.started: Started | None = None
        """The last attempt of this life whose program has started."""
        self.started_at: float | None = None
        self.waiting: Waiting | None = None
        """In the queue for GPUs; None when it is not there (any more)."""
        self.placed: Placed | None = None
        self.takeovers = 0
        """How often its supervisor died and another one took over."""
        self.orphaned = 0
        """How often its tracker has called another supervisor."""
        self.ended_attempts: list[AttemptEnded] = []
        self.lease_at: float | None = None
        self.nodes: dict[int, dict[str, Any]] = {}
        """Node → what is known of it, as far as they have joined; `reason` and `exit_code` where the program has ended."""
        self._submitted: Submitted | None = None
        self._node_facts: dict[str, Any] = {}
        self._begin_placement()
        self._begin_attempt()

    def _begin_placement(self) -> None:
        self.is_queued = False
        """Whether a supervisor has taken it up: in this placement of it, or this life."""
        self.retries_used = 0

    def _begin_attempt(self) -> None:
        self.stopping: Stopping | None = None
        """What was asked of this attempt last."""
        self.stopping_at = 0.0
        self.leased: Leased | None = None
        self.gpus_away: GpusAway | None = None
        """Its GPUs were given back while nobody uses it; *leased* says which."""
        self.has_acquired = False
        """Whether this attempt has taken anything that outlives it."""
        self.has_started = False
        self.has_output = False
        self.acted_at = self.last_at
        """When this attempt did something last."""
        self._forget_pauses()

    def _forget_pauses(self) -> None:
        self.paused_at: float | None = None
        """Since when the run is paused."""
        self._paused_before_s = 0.0

    # Questions

    @property
    def is_over(self) -> bool:
        return self.finished is not None

    @property
    def is_paused(self) -> bool:
        return self.paused_at is not None and not self.is_over

    @property
    def is_sweep(self) -> bool:
        """Whether it is the parent of a sweep's trials."""
        return self.created is not None and self.created.sweep_id is not None and self.created.sweep_id == self.created.run_id

    @property
    def placement(self) -> str | None:
        """Whose words count: the placement that the run is in the hands of; None when it is of no cluster."""
        return self._fence.placement

    @property
    def job(self) -> Job | None:
        """The job that the run is in the hands of; None for a run of this machine, and one that has ended."""
        submitted = self._submitted
        return None if submitted is None or self.is_over else Job(submitted.engine, submitted.job, submitted.worker)

    def placement_of(self, token: str | None) -> Placement | None:
        """The last one of that name: a node has one for each attempt."""
        return next((placement for placement in reversed(self.placements) if placement.token == token), None)

    @property
    def phase(self) -> str:
        """Where the run is, by the name of the event that led there: `queued`, `started`, `stopping`, ..., or `paused`."""
        return "paused" if self.is_paused and self.stopping is None else self._phase

    @property
    def stage(self) -> Stage:
        if self.is_over:
            return Stage.ENDED
        if self.waiting is not None:
            return Stage.QUEUED
        return Stage.STARTING if self.leased is None else Stage.HOLDING

    @property
    def next_attempt(self) -> int:
        """Each attempt but the last of a life is followed by `attempt`, the last by `finished`, and then perhaps by `resumed`."""
        return self._attempts_and_lives

    @property
    def status(self) -> tuple[RunStatus, int | None]:
        """MLflow's status by the journal alone and, when it is a final one, the end in milliseconds."""
        if self.finished is not None and self.finished_at is not None:
            return Reason.named(self.finished.reason).status, int(self.finished_at * 1000)
        return (RunStatus.RUNNING if self.started is not None else RunStatus.SCHEDULED), None

    def paused_s(self, now: float) -> float:
        """Seconds for which the current attempt has been paused, until *now*."""
        return self._paused_before_s + (max(0.0, now - self.paused_at) if self.paused_at is not None else 0.0)

    def running_s(self, until: float | None = None) -> float | None:
        """Seconds between each attempt's start and its end; the open one counts up to *until*, or now. None: none has started."""
        if self.first_started_at is None:
            return None
        running_s = self._ran_s
        if self._running_since is not None:
            running_s += max(time.time() if until is None else until, self.last_at) - self._running_since
        return round(running_s, 3)

    def gpu_hours(self, until: float) -> float:
        """From each lease to the end of its attempt, idle or not; an open one counts to *until*, a part of a GPU in part."""
        return (self._gpu_s + self._held_s(until)) / 3600

    # Changes

    def take_in(self, entry: Entry) -> bool:
        """Let *entry* have happened. False when it does not count: a superseded placement wrote it."""
        if not self._fence.admits(entry):
            return False
        event, at = entry.event, entry.at
        change = _CHANGES.get(type(event))
        if change is not None:
            change(self, event, at)
        if isinstance(event, _PHASES):
            self._phase = events.name_of(event)
        if isinstance(event, Placed):
            self.placements.append(Placement(entry.token or "", event))
        elif self.placements:
            self.placements[-1].take_in(entry)
        if not isinstance(event, Note | AttemptEnded | Resumed):
            self.acted_at = at
        self.last_at = at
        return True

    _phase = "created"
    _running_since: float | None = None

    def _create(self, event: Created, at: float) -> None:
        self.created, self.created_at, self.begun = event, at, event
        self.image_digest, self.host = event.image_digest, event.host

    def _submit(self, event: Submitted, at: float) -> None:
        self._submitted, self.last_job = event, event.job

    def _place(self, event: Placed, at: float) -> None:
        self.placed = event
        self.host, self.last_job = event.host or self.host, event.job or self.last_job
        self.attempt = event.attempt or self.attempt
        self.nodes.setdefault(0, {"node": 0}).update({"name": event.node, "host": event.host})
        self.nodes[0].update(self._node_facts)
        self._begin_placement()

    def _queue(self, event: Queued, at: float) -> None:
        self.is_queued = True
        self.image_digest = event.image_digest or self.image_digest
        self._forget_end()
        self._learn(event.facts)
        self._learn_of_node(event.facts or {})

    def _wait(self, event: Waiting, at: float) -> None:
        self.waiting = event

    def _lease(self, event: Leased, at: float) -> None:
        self._gpu_s += self._held_s(at)
        self._held_since = (at, event.gpu_count)
        self.leased, self.lease_at, self.waiting, self.gpus_away = event, at, None, None
        self.gpus = event.gpus
        self._learn(event.facts)
        self._learn_of_node({"gpus": list(event.gpus), **(event.facts or {})})

    def _give_gpus_back(self, event: GpusAway, at: float) -> None:
        self._gpu_s += self._held_s(at)
        self._held_since = None
        self.gpus_away = event

    def _acquire(self, event: Acquired, at: float) -> None:
        self.acquired.append(event)
        self.has_acquired = True

    def _know_mlflow(self, event: Mlflow, at: float) -> None:
        self.mlflow = event

    def _start(self, event: Started, at: float) -> None:
        self._forget_end()
        self.started, self.started_at, self.has_started = event, at, True
        self.first_started_at = at if self.first_started_at is None else self.first_started_at
        self.attempt, self.ports = event.attempt, event.ports or self.ports
        self._running_since = at
        self._forget_pauses()

    def _say_first(self, event: FirstOutput, at: float) -> None:
        self.has_output = True

    def _end_attempt(self, event: AttemptEnded, at: float) -> None:
        self._stop_clocks(at)
        self.ended_attempts.append(event)
        self.attempt = event.attempt
        self.retries_used += 1
        self._attempts_and_lives += 1
        self._begin_attempt()

    def _join(self, event: NodeJoined, at: float) -> None:
        self.nodes.setdefault(0, {"node": 0, **self._node_facts})
        self.nodes[event.node] = {"node": event.node, **_known_of_node(event.about)}

    def _leave(self, event: NodeEnded, at: float) -> None:
        self.nodes.setdefault(0, {"node": 0, **self._node_facts})
        self.nodes.setdefault(event.node, {"node": event.node}).update(event.ending)

    def _stop(self, event: Stopping, at: float) -> None:
        self.stopping, self.stopping_at, self.waiting = event, at, None

    def _pause(self, event: Paused, at: float) -> None:
        self.was_paused = True
        self.paused_at = at if self.paused_at is None else self.paused_at

    def _unpause(self, event: Unpaused, at: float) -> None:
        if self.paused_at is not None:
            self._paused_before_s += at - self.paused_at
            self.paused_at = None

    def _finish(self, event: Finished, at: float) -> None:
        self._stop_clocks(at)
        self.finished, self.finished_at = event, at
        self.usage = event.usage if event.usage is not None else self.usage
        self._learn(event.facts)

    def _resume(self, event: Resumed, at: float) -> None:
        self.ended_before = self.finished or self.ended_before
        self._attempts_and_lives += 1
        self._begin_life(event, at)

    def _note(self, event: Note, at: float) -> None:
        if event.text:
            self.notes.append(event.text)
        self.takeovers += event.text == events.TOOK_OVER
        self.orphaned += event.text == events.ORPHANED
        self.superseded.update(event.superseded)
        if event.xid is not None and event.gpu is not None:
            self.struck.append((event.gpu, event.xid))
        self._learn(event.facts)

    def _keep_unknown(self, event: Unknown, at: float) -> None:
        self.unknown.append(event)

    def _forget_end(self) -> None:
        """A sweep that is taken up again begins no other life: it starts."""
        self.ended_before = self.finished or self.ended_before
        self.finished = self.finished_at = None

    def _stop_clocks(self, at: float) -> None:
        self._gpu_s += self._held_s(at)
        self._held_since = None
        if self._running_since is not None:
            self._ran_s += at - self._running_since
            self._running_since = None

    def _held_s(self, until: float) -> float:
        since, gpus = self._held_since or (until, 0.0)
        return gpus * max(0.0, until - since)

    def _learn(self, facts: dict[str, Any] | None) -> None:
        self.facts.update(facts or {})

    def _learn_of_node(self, facts: dict[str, Any]) -> None:
        self._node_facts.update(_known_of_node(facts))
        if 0 in self.nodes:
            self.nodes[0].update(self._node_facts)


def _known_of_node(facts: Mapping[str, Any]) -> dict[str, Any]:
    names = ("name", "host", "gpus", "gpu_models", "driver", "cpu", "kernel")
    return {name: facts[name] for name in names if facts.get(name) is not None}


_CHANGES: dict[type[Event], Any] = {
    Created: RunState._create,
    Submitted: RunState._submit,
    Placed: RunState._place,
    Queued: RunState._queue,
    Waiting: RunState._wait,
    Leased: RunState._lease,
    GpusAway: RunState._give_gpus_back,
    Acquired: RunState._acquire,
    Mlflow: RunState._know_mlflow,
    Started: RunState._start,
    FirstOutput: RunState._say_first,
    AttemptEnded: RunState._end_attempt,
    NodeJoined: RunState._join,
    NodeEnded: RunState._leave,
    Stopping: RunState._stop,
    Paused: RunState._pause,
    Unpaused: RunState._unpause,
    Finished: RunState._finish,
    Resumed: RunState._resume,
    Note: RunState._note,
    Unknown: RunState._keep_unknown,
}
