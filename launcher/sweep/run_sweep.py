"""Run the trials of a sweep: each an ordinary run with its own supervisor, as many side by side as fit, never in batches.

A failed trial does not stop the others unless `sweep.on_failure` or `sweep.max_failures` says so. The first Ctrl-C starts no more
trials and lets the running ones finish, the second stops them, the third kills them. When this process dies, its trials go on
under their supervisors and are recorded.
"""

from __future__ import annotations

import os
import select
import signal
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from launcher.config.spec import Sweep
from launcher.plan.launch_plan import LaunchPlan
from launcher.run.fork_server import ForkServer
from launcher.run.handover import RunIdentity, new_run
from launcher.run.signal_inbox import SignalInbox
from launcher.sweep.capacity import Need, Offer, fits
from launcher.sweep.objective import trial_end
from launcher.sweep.study import Asked, BestPoint, Study
from launcher.tracking.record import RunRecord, fold
from launcher.tracking.status import Reason, RunStatus
from runtime.oci.digest import Digest
from runtime.state_dir import RunDir, StateDir


@dataclass(frozen=True, slots=True)
class Trial:
    """One point of the space with its seed, planned and with its image built."""

    number: int
    """From 1; `LAUNCH_TRIAL` in the program."""
    overrides: tuple[str, ...]
    """What sets it apart: `params.lr=0.1`, `seed=2`."""
    plan: LaunchPlan
    image_digest: Digest

    @property
    def need(self) -> Need:
        return Need(self.plan.cpus, self.plan.memory_bytes, self.plan.gpus)


@dataclass(frozen=True, slots=True)
class EndedTrial:
    """What is kept of a trial that has ended: its record can be read again."""

    number: int
    overrides: tuple[str, ...]
    run_id: str
    mlflow_run_id: str | None
    finished: bool


@dataclass(frozen=True, slots=True)
class SweepEnd:
    """What became of a sweep."""

    trials: list[EndedTrial]
    """The trials that ran, by number."""
    reason: Reason
    """Why it ended: `completed` when every trial finished."""
    best: list[BestPoint]

    @property
    def finished(self) -> int:
        return sum(trial.finished for trial in self.trials)


class SweepView(Protocol):
    """Who watches a sweep."""

    def started(self, trial: Trial, run_dir: RunDir) -> None: ...

    def ended(self, trial: Trial, record: RunRecord) -> None: ...

    def tick(self) -> None:
        """Called now and then while trials run."""

    def message(self, text: str) -> None: ...


@dataclass(slots=True)
class _Running:
    trial: Trial
    run_dir: RunDir


@dataclass(slots=True)
class _Sweep:
    state: StateDir
    sweep_id: str
    name: str | None
    command_line: tuple[str, ...]
    study: Study
    settings: Sweep
    planned: Callable[[Asked], Trial]
    offer: Offer
    view: SweepView
    inbox: SignalInbox
    supervisors: ForkServer
    policy: FailurePolicy
    deadline: float | None
    again: deque[Trial] = field(default_factory=deque)
    """Trials to try once more, after those that are new."""
    next: Trial | None = None
    """The one that waits for room."""
    running: dict[int, _Running] = field(default_factory=dict)
    """pidfd of the supervisor → trial."""
    ended: list[EndedTrial] = field(default_factory=list)
    requests: int = 0
    tries: dict[int, int] = field(default_factory=dict)
    failures: int = 0
    said_exhausted: bool = False
    starts: bool = True
    """Whether trials are still started."""
    cut_short: Reason | None = None
    """Why trials were stopped or not started."""

    def run(self) -> SweepEnd:
        poller = select.poll()
        poller.register(self.inbox.fd, select.POLLIN)
        while True:
            while (trial := self._next_that_fits()) is not None:
                poller.register(self._start(trial), select.POLLIN)
            if not self.running:
                break
            self._keep_time()
            for fd, _event in poller.poll(_TICK_MS):
                if fd == self.inbox.fd:
                    self._obey(self.inbox.read())
                else:
                    poller.unregister(fd)
                    self._end(fd)
            self.view.tick()
        complete = self.starts and all(trial.finished for trial in self.ended)
        reason = Reason.COMPLETED if complete else self.cut_short or Reason.PROGRAM
        return SweepEnd(sorted(self.ended, key=lambda trial: trial.number), reason, self.study.best())

    def _next_that_fits(self) -> Trial | None:
        """A trial to start now; None when there is none, or no room for it yet."""
        if self.starts and self.next is None:
            asked = self.study.ask()
            if asked is not None:
                self.next = self.planned(asked)
            elif self.again:
                self.next = self.again.popleft()
            elif self.study.exhausted:
                self._say_how_many_there_were()
        if not self.starts or self.next is None:
            return None
        running = [each.trial.need for each in self.running.values()]
        if not fits(self.next.need, running, self.offer, parallel=self.settings.parallel):
            return None
        trial, self.next = self.next, None
        return trial

    def _say_how_many_there_were(self) -> None:
        """Once: a space of choices has fewer points than `sweep.trials`."""
        if self.settings.trials and not self.said_exhausted and self.settings.sampler != "grid":
            self.said_exhausted = True
            self.view.message(
                f"the space has no more points: {self.study.total} trials where {self.settings.trials} were asked for"
            )

    def _start(self, trial: Trial) -> int:
        identity = RunIdentity(
            name=f"{self.name or trial.plan.spec.name}-{trial.number}",
            command_line=self.command_line,
            parent_run_id=self.sweep_id,
            sweep_id=self.sweep_id,
            trial=trial.number,
        )
        run_dir, lock_fd = new_run(trial.plan, trial.image_digest, state=self.state, identity=identity)
        pidfd = self.supervisors.supervise(run_dir, lock_fd)
        self.running[pidfd] = _Running(trial, run_dir)
        self.view.started(trial, run_dir)
        return pidfd

    def _end(self, pidfd: int) -> None:
        ended = self.running.pop(pidfd)
        os.close(pidfd)
        record = fold(ended.run_dir)
        if record is None:
            return
        trial = ended.trial
        self.view.ended(trial, record)
        if record.status is RunStatus.FAILED and self._tries_again(trial):
            return
        self.study.tell(trial.number, trial_end(record, self.settings))
        finished = record.status is RunStatus.FINISHED
        self.ended.append(EndedTrial(trial.number, trial.overrides, record.run_id, record.mlflow_run_id, finished))
        if record.status is RunStatus.FAILED:
            self.failures += 1
            if self.policy.ends_after(self.failures) and self.starts:
                self.view.message(f"{self.failures} failed: no more trials are started")
                self.starts = False

    def _tries_again(self, trial: Trial) -> bool:
        """`sweep.retries`: a failed trial goes to the end of the queue, as a new run."""
        self.tries[trial.number] = self.tries.get(trial.number, 0) + 1
        if self.tries[trial.number] > self.policy.retries or self.requests:
            return False
        self.study.restart(trial.number)
        self.again.append(trial)
        return True

    def _keep_time(self) -> None:
        if self.deadline is None or time.monotonic() < self.deadline:
            return
        self.deadline = None
        self.cut_short = Reason.TIMEOUT
        self.view.message("`sweep.timeout` is over: stopping the running trials")
        self.starts = False
        for pidfd in self.running:
            signal.pidfd_send_signal(pidfd, signal.SIGTERM)

    def _obey(self, requests: Sequence[signal.Signals]) -> None:
        for request in requests:
            if request is signal.SIGHUP:
                _leave_terminal()
                continue
            self.cut_short = Reason.STOPPED if request is signal.SIGTERM else Reason.INTERRUPTED
            self.requests += 2 if request is signal.SIGTERM else 1
            self.starts = False
            if self.requests == 1:
                self.view.message(f"finishing {len(self.running)} running trials, again to stop them")
                continue
            self.view.message("stopping the running trials, again to kill them")
            for pidfd in self.running:
                signal.pidfd_send_signal(pidfd, signal.SIGINT)


_TICK_MS = 500


@dataclass(frozen=True, slots=True)
class FailurePolicy:
    """`sweep.on_failure`, `sweep.max_failures`, `sweep.retries`."""

    stop_at_first: bool = False
    max_failures: int | None = None
    retries: int = 0

    def ends_after(self, failures: int) -> bool:
        """Whether no more trials are started after so many failures."""
        return self.stop_at_first or (self.max_failures is not None and failures >= self.max_failures)


def run_sweep(
    study: Study,
    *,
    planned: Callable[[Asked], Trial],
    settings: Sweep,
    state: StateDir,
    sweep_id: str,
    name: str | None,
    command_line: tuple[str, ...],
    offer: Offer,
    view: SweepView,
    inbox: SignalInbox,
    supervisors: ForkServer,
) -> SweepEnd:
    """Run the trials of *study*, as many at once as fit into *offer*; *planned* makes the plan of one that was asked for."""
    policy = FailurePolicy(settings.on_failure == "stop", settings.max_failures, settings.retries)
    deadline = None if settings.timeout is None else time.monotonic() + settings.timeout
    return _Sweep(
        state, sweep_id, name, command_line, study, settings, planned, offer, view, inbox, supervisors, policy, deadline
    ).run()


def _leave_terminal() -> None:
    """The terminal is gone (SIGHUP): the sweep goes on without a word."""
    null_fd = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
    for fd in (0, 1, 2):
        os.dup2(null_fd, fd)
    os.close(null_fd)
