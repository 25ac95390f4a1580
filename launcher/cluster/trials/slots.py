"""A cluster as the place where a sweep's trials run: handed to worker jobs as these become free (`worker.py`)."""

from __future__ import annotations

import math
import os
import select
import signal
import time
from collections.abc import Callable, Collection
from contextlib import AbstractContextManager, nullcontext

from launcher.cluster.engine import Engine, JobStatus
from launcher.cluster.placement import reconcile
from launcher.cluster.trials.exchange import Left, has_requests, make_requests, request
from launcher.cluster.trials.worker_job import WorkerJob, shape_of, worker_script
from launcher.cluster.trials.worker_pool import WorkerPool
from launcher.config.spec import Cluster, Sweep
from launcher.errors import LaunchError
from launcher.journal.events import Submitted
from launcher.journal.run_journal import Journal, read_state
from launcher.journal.status import Reason, Stage
from launcher.run.recover import recover
from launcher.sweep.place import Outcome
from launcher.sweep.policy import CUT_SHORT
from launcher.sweep.running import FileWatch, RunningTrial
from launcher.sweep.trial import Trial
from launcher.tracking.record.run_record import RunRecord, fold
from runtime.light_dataclasses import replace
from runtime.plurals import counted
from runtime.state_dir import RunDir

DEFAULT_JOBS = 16
"""Worker jobs of a sweep that says neither `cluster.jobs` nor `sweep.parallel`."""

MOST_UNSENT = 4
"""Trials of one worker that have ended and whose record is still on its way to MLflow: more would only wait for it."""


def number_of_jobs(cluster: Cluster, sweep: Sweep) -> int:
    """Worker jobs side by side, pending ones included."""
    return min((wish for wish in (cluster.jobs, sweep.parallel) if wish is not None), default=DEFAULT_JOBS)


class ClusterSlots:
    """Implements `launcher.sweep.place.Place`. *ends_matter*: which trial is next depends on how others end; so a worker is free
    once the record of its last one is sent. *send*: tell MLflow of a run what its node could not."""

    last_word_within_s = 5.0
    """How long after its supervisor's end a trial may lack its last word: the watchdog of one that was killed is about to write
    it."""

    def __init__(
        self,
        sweep: RunDir,
        engine: Engine,
        *,
        limit: int,
        ends_matter: bool,
        tell: Callable[[str], None],
        send: Callable[[RunDir], object],
    ) -> None:
        self._pool = WorkerPool(sweep, engine, worker_script, limit=limit, tell=tell)
        self._send = send
        self._unsent = 1 if ends_matter else MOST_UNSENT
        self._tries: dict[str, RunningTrial] = {}
        self._workers: dict[str, WorkerJob] = {}
        """Run → who runs it."""
        self._without_last_word: dict[str, float] = {}
        """Run whose supervisor has ended → when."""
        self._next: Trial | None = None
        self._admitted: WorkerJob | None = None
        """Who will run the trial that was asked about last. Asked for again it could be another one, or none: time passes."""
        self._longest_s = 0.0
        """Of the trials that have ended."""
        self._poller = select.poll()
        self._changes = FileWatch(self._poller)
        for worker in self._pool:
            self._changes.add(worker.directory.reports)

    @property
    def running(self) -> Collection[RunningTrial]:
        return tuple(self._tries.values())

    @property
    def number_open(self) -> int:
        return sum(each.staged.look() is not Stage.ENDED for each in self._tries.values())

    def wake_on(self, fd: int) -> None:
        self._poller.register(fd, select.POLLIN)

    def admission_lock(self) -> AbstractContextManager[None]:
        return nullcontext()

    def admits(self, trial: Trial) -> bool:
        self._next, self._admitted = trial, self._free_worker(trial)
        return self._admitted is not None

    def announce_demand(self, number: int | None) -> None:
        busy = sum(worker.is_staying and worker.current is not None for worker in self._pool)
        more = math.inf if number is None else number
        plan = None if self._next is None or not more else self._next.plan
        for worker in self._pool.scale_to(busy + more, plan, None if plan is None else shape_of(plan)):
            self._changes.add(worker.directory.reports)

    def start(self, running: RunningTrial, lock_fd: int) -> None:
        worker, self._admitted = self._admitted, None
        assert worker is not None, "nobody has asked whether there is room"
        try:
            make_requests(running.run_dir)
            # In this order, under the run's lock, for which the worker waits: killed between them we leave a run not yet begun.
            worker.give(running.run_dir.run_id)
            Journal(running.run_dir.journal).append(Submitted(worker.job.engine, worker.job.job, worker=True))
        finally:
            os.close(lock_fd)
        self._take(running, worker)

    def adopt(self, running: RunningTrial) -> Outcome | None:
        job = read_state(running.run_dir.journal).job
        worker = None if job is None else self._pool.of_job(job.job)
        if worker is None:
            recover(running.run_dir)
            record = fold(running.run_dir)
            if record is not None and record.exit_code is None:
                what = f"trial {running.trial.number} still runs on this machine, as run `{record.run_id}`"
                raise LaunchError(what, hint=f"`launch wait {record.run_id}`, then resume the sweep on the cluster")
            return None if record is None else (running, _blame_job(record))
        self._take(running, worker)
        return None

    def wait(self, timeout_ms: int) -> list[Outcome]:
        pause_ms = min([timeout_ms, *(1000 * worker.next_look_s() for worker in self._pool)])
        woken = sum(self._changes.woke(fd) for fd, _event in self._poller.poll(pause_ms)) > 0
        has_left_trial = False
        for worker in self._pool:
            reports = worker.read_reports(now=woken)
            has_left_trial |= worker.current is not None and any(isinstance(report, Left) for report in reports)
        for worker, status in self._pool.poll(at_once=has_left_trial):
            self._changes.remove(worker.directory.reports)
            for run_id in [run_id for run_id, whose in self._workers.items() if whose is worker]:
                _close(self._tries[run_id].run_dir, worker, status)
        for run_id, worker in self._workers.items():
            if worker.is_over or run_id in worker.ended:
                self._without_last_word.setdefault(run_id, time.monotonic())
        return [over for run_id in list(self._without_last_word) if (over := self._take_ended(run_id)) is not None]

    def node_for(self, trial: Trial) -> str | None:
        return None if self._admitted is None else self._admitted.node

    def status_words(self) -> str | None:
        nodes = [worker.node for worker in self._pool if worker.node is not None]
        here = f"{counted(len(nodes), 'worker')} on {counted(len(set(nodes)), 'node')}" if nodes else None
        return ", ".join(words for words in (here, self._pool.waits_for) if words is not None) or None

    def why_it_waits(self) -> str | None:
        return None if self._pool.waits_for is None else f"waiting: {self._pool.waits_for}"

    def prune(self, number: int) -> None:
        for running in self._tries.values():
            if running.trial.number == number and not running.pruned:
                running.pruned = True
                request(running.run_dir, signal.SIGUSR1)

    def leave_line(self) -> None:
        self._pool.dismiss()

    def signal(self, signum: signal.Signals) -> None:
        for running in self._tries.values():
            request(running.run_dir, signum)

    def close(self) -> None:
        """The sweep has ended, and needs no trial any more."""
        self._pool.dismiss()

    def _take(self, running: RunningTrial, worker: WorkerJob) -> None:
        self._tries[running.run_dir.run_id] = running
        self._workers[running.run_dir.run_id] = worker

    def _free_worker(self, trial: Trial) -> WorkerJob | None:
        for worker in self._pool.idle(shape_of(trial.plan)):
            unsent = sum(whose is worker for whose in self._workers.values())
            if unsent >= self._unsent:
                continue
            if worker.has_time_for(self._time_of(trial)):
                return worker
            worker.dismiss()
        return None

    def _time_of(self, trial: Trial) -> float:
        """What it may take of its job's time: its `timeout`, or as long as the longest so far. Slurm signals `grace` ahead."""
        spec = trial.plan.spec
        return (self._longest_s if spec.timeout is None else spec.timeout) + spec.grace

    def _take_ended(self, run_id: str) -> Outcome | None:
        running = self._tries[run_id]
        record = fold(running.run_dir)
        if record is None or record.exit_code is None:
            if time.monotonic() - self._without_last_word[run_id] > self.last_word_within_s:
                job = self._workers[run_id].job
                reconcile.close_as(Reason.LOST, running.run_dir, job, "its supervisor ended without a last word")
            return None
        for known in (self._tries, self._workers, self._without_last_word):
            known.pop(run_id)
        self._longest_s = max(self._longest_s, record.duration_s or 0.0)
        self._send(running.run_dir)
        return running, _blame_job(record)


def _close(run_dir: RunDir, worker: WorkerJob, status: JobStatus) -> None:
    """Write the last word of a trial whose worker's job is over, if there is none. One that was handed over just as the worker
    left has not begun: that is no failure."""
    if worker.left_because is None or read_state(run_dir.journal).placements:
        reconcile.close(run_dir, worker.job, status)
    else:
        reason = Reason.STOPPED if has_requests(run_dir) else Reason.PREEMPTED
        reconcile.close_as(reason, run_dir, worker.job, f"its worker left before it began: {worker.left_because}")


def _blame_job(record: RunRecord) -> RunRecord:
    """The job was cancelled and not the trial, of which nothing was asked: it is tried again."""
    cancelled = record.job is not None and record.reason in CUT_SHORT and not has_requests(record.run_dir)
    return replace(record, reason=str(Reason.PREEMPTED)) if cancelled else record
