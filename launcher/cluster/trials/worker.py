"""On the node: run a sweep's trials one after the other, each under a supervisor that is forked from this process.

A worker decides nothing: the sweep's process says which trial is next and when there is none. It leaves by itself when no order
has come for long, and when its job is about to end; what runs then runs to its end, or to that of the job.
"""

from __future__ import annotations

import os
import select
import signal
import sys
import time
from contextlib import suppress
from typing import NoReturn

from launcher.cluster.slurm.own_job import this_node
from launcher.cluster.trials.exchange import (
    Began,
    Leave,
    Left,
    RunTrial,
    TrialFree,
    TrialOver,
    WorkerDir,
    look_pause_s,
    new_orders,
)
from launcher.cluster.trials.forked_trial import ForkedTrial, fork_trial
from launcher.journal.growing_file import GrowingFile
from launcher.run.start.warm_up import warm_up
from launcher.run.supervisor.signal_inbox import SignalInbox
from runtime.kernel.inotify import MODIFY, Inotify
from runtime.state_dir import RunDir

ALONE_S = 30.0
"""How long a worker without a trial waits for an order. The sweep's process dismisses it sooner, unless it is gone; whoever
resumes the sweep within that time finds the GPU still there."""

_SIGNALLED_TWICE_S = 1.0
"""`scancel` signals a trial's supervisor as well as us, and a second signal would kill the trial. After this long it was for us
alone, and is passed on."""


def main(worker_dir: WorkerDir) -> NoReturn:
    os.umask(0o077)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    worker = Worker(worker_dir, SignalInbox((signal.SIGTERM, signal.SIGINT, signal.SIGUSR1, signal.SIGUSR2)))
    worker.begin()
    warm_up(worker_dir.has_trial)
    worker.work()
    sys.exit(0)


class Worker:
    """One job's life."""

    def __init__(self, worker_dir: WorkerDir, inbox: SignalInbox) -> None:
        self._dir = worker_dir
        self._inbox = inbox
        self._orders = GrowingFile(worker_dir.orders)
        self._changes = Inotify()
        self._changes.watch(worker_dir.orders, MODIFY)
        self._current: ForkedTrial | None = None
        self._sending: list[ForkedTrial] = []
        """Those whose program has ended and whose record is on its way to MLflow."""
        self._idle_since = time.monotonic()
        self._ended_at: float | None = None
        """When the job was asked to end."""
        self._trials_begun = 0
        self._has_left = False

    def begin(self) -> None:
        until = os.environ.get("SLURM_JOB_END_TIME", "")
        self._dir.report(Began(this_node(), float(until) if until.isdigit() else None))

    def work(self) -> None:
        while not self._has_left or self._current is not None or self._sending:
            self._obey_signals()
            self._obey_orders()
            self._attend()
            if self._current is None and not self._has_left and time.monotonic() - self._idle_since > ALONE_S:
                self._leave(f"no trial for {ALONE_S:g} s")
            self._wait()

    def _obey_signals(self) -> None:
        for signum in self._inbox.read():
            if signum is signal.SIGUSR2:
                self._leave("the end of the job's time is near")
                if self._current is not None:
                    self._current.signal(signum)
            elif self._ended_at is None:
                self._ended_at = time.monotonic()
                self._leave(f"the job is being ended ({signum.name})")
        if self._ended_at is not None and time.monotonic() - self._ended_at > _SIGNALLED_TWICE_S:
            self._ended_at = float("inf")
            if self._current is not None and not self._current.is_stopping:
                self._current.signal(signal.SIGTERM)

    def _obey_orders(self) -> None:
        for order in new_orders(self._orders):
            if isinstance(order, Leave):
                self._leave("no more is to be done")
            elif isinstance(order, RunTrial) and not self._has_left and self._current is None:
                run_dir = RunDir(self._dir.sweep.root.with_name(order.run))
                fds = (self._changes.fileno(), self._inbox.fd)
                self._current = fork_trial(run_dir, is_first=not self._trials_begun, apart_from=fds)
                self._trials_begun += 1
                with suppress(OSError):
                    self._changes.watch(run_dir.journal, MODIFY)

    def _attend(self) -> None:
        if self._current is not None and self._current.look():
            self._free(self._current)
        for trial in [each for each in self._sending if each.reap()]:
            self._sending.remove(trial)
            self._dir.report(TrialOver(trial.run_dir.run_id))

    def _free(self, trial: ForkedTrial) -> None:
        self._changes.unwatch(trial.run_dir.journal)
        self._current, self._idle_since = None, time.monotonic()
        self._sending.append(trial)
        self._dir.report(TrialFree(trial.run_dir.run_id))

    def _leave(self, why: str) -> None:
        if not self._has_left:
            self._has_left = True
            self._dir.report(Left(why))

    def _wait(self) -> None:
        children = [trial.pidfd for trial in (*self._sending, self._current) if trial is not None]
        ready, _, _ = select.select([self._inbox.fd, self._changes.fileno(), *children], [], [], self._pause_s())
        if self._changes.fileno() in ready:
            self._changes.read()

    def _pause_s(self) -> float:
        return look_pause_s(time.monotonic() - self._idle_since if self._current is None else self._current.age_s)
