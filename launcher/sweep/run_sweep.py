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
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from launcher.plan.launch_plan import LaunchPlan
from launcher.run.fork_server import ForkServer
from launcher.run.handover import RunIdentity, new_run
from launcher.run.signal_inbox import SignalInbox
from launcher.tracking.record import RunRecord, fold
from launcher.tracking.status import Reason, RunStatus
from runtime.oci.digest import Digest
from runtime.state_dir import RunDir, StateDir


@dataclass(frozen=True, slots=True)
class Trial:
    """One point of the space, planned and with its image built."""

    number: int
    """From 1, in the order of the space; `LAUNCH_TRIAL` in the program."""
    overrides: tuple[str, ...]
    """What sets it apart: `params.lr=0.1`, `seed=2`."""
    plan: LaunchPlan
    image_digest: Digest


@dataclass(frozen=True, slots=True)
class SweepEnd:
    """What became of a sweep."""

    records: list[tuple[Trial, RunRecord]]
    """The trials that ran, by number."""
    reason: Reason
    """Why it ended: `completed` when every trial finished."""


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
    slots: int
    view: SweepView
    inbox: SignalInbox
    supervisors: ForkServer
    queue: deque[Trial]
    policy: FailurePolicy
    deadline: float | None
    running: dict[int, _Running] = field(default_factory=dict)
    """pidfd of the supervisor → trial."""
    records: list[tuple[Trial, RunRecord]] = field(default_factory=list)
    requests: int = 0
    tries: dict[int, int] = field(default_factory=dict)
    failures: int = 0
    cut_short: Reason | None = None
    """Why trials were stopped or not started."""

    def run(self) -> SweepEnd:
        total = len(self.queue)
        poller = select.poll()
        poller.register(self.inbox.fd, select.POLLIN)
        while self.running or self.queue:
            while self.queue and len(self.running) < self.slots:
                poller.register(self._start(self.queue.popleft()), select.POLLIN)
            self._keep_time()
            for fd, _event in poller.poll(_TICK_MS):
                if fd == self.inbox.fd:
                    self._obey(self.inbox.read())
                else:
                    poller.unregister(fd)
                    self._end(fd)
            self.view.tick()
        complete = len(self.records) == total and all(record.status is RunStatus.FINISHED for _trial, record in self.records)
        reason = Reason.COMPLETED if complete else self.cut_short or Reason.PROGRAM
        return SweepEnd(sorted(self.records, key=lambda pair: pair[0].number), reason)

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
        self.view.ended(ended.trial, record)
        if record.status is RunStatus.FAILED and self._tries_again(ended.trial):
            return
        self.records.append((ended.trial, record))
        if record.status is RunStatus.FAILED:
            self.failures += 1
            if self.policy.ends_after(self.failures) and self.queue:
                self.view.message(f"{self.failures} failed: no more trials are started")
                self.queue.clear()

    def _tries_again(self, trial: Trial) -> bool:
        """`sweep.retries`: a failed trial goes to the end of the queue, as a new run."""
        self.tries[trial.number] = self.tries.get(trial.number, 0) + 1
        if self.tries[trial.number] > self.policy.retries or self.requests:
            return False
        self.queue.append(trial)
        return True

    def _keep_time(self) -> None:
        if self.deadline is None or time.monotonic() < self.deadline:
            return
        self.deadline = None
        self.cut_short = Reason.TIMEOUT
        self.view.message("`sweep.timeout` is over: stopping the running trials")
        self.queue.clear()
        for pidfd in self.running:
            signal.pidfd_send_signal(pidfd, signal.SIGTERM)

    def _obey(self, requests: Sequence[signal.Signals]) -> None:
        for request in requests:
            if request is signal.SIGHUP:
                _leave_terminal()
                continue
            self.cut_short = Reason.STOPPED if request is signal.SIGTERM else Reason.INTERRUPTED
            self.requests += 2 if request is signal.SIGTERM else 1
            self.queue.clear()
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
    trials: Sequence[Trial],
    *,
    state: StateDir,
    sweep_id: str,
    name: str | None,
    command_line: tuple[str, ...],
    slots: int,
    view: SweepView,
    inbox: SignalInbox,
    supervisors: ForkServer,
    policy: FailurePolicy,
    timeout_s: float | None,
) -> SweepEnd:
    """Run *trials*, at most *slots* at once."""
    deadline = None if timeout_s is None else time.monotonic() + timeout_s
    return _Sweep(state, sweep_id, name, command_line, slots, view, inbox, supervisors, deque(trials), policy, deadline).run()


def _leave_terminal() -> None:
    """The terminal is gone (SIGHUP): the sweep goes on without a word."""
    null_fd = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
    for fd in (0, 1, 2):
        os.dup2(null_fd, fd)
    os.close(null_fd)
