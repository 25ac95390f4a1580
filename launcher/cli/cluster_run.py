"""A run on a cluster, from the command's side: submitted, watched as a local one is, asked about, ended.

The watcher reads what the run's supervisor writes into its directory, which both machines see, and asks the engine only while
that doesn't say.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from launcher.cli import render
from launcher.cli.watch import watch_run, words_for_interrupt
from launcher.cluster.engine import JobPhase, JobStatus, PollPace
from launcher.cluster.placement.reconcile import reconcile, submitted_runs
from launcher.cluster.submission import engine_named, submit
from launcher.cluster.trials.exchange import request
from launcher.cluster.trials.worker_pool import pending_workers
from launcher.errors import LaunchError
from launcher.journal.placement import Job
from launcher.journal.run_journal import Follower, read_state
from launcher.run.recover import recover
from launcher.run.supervisor.signal_inbox import SignalInbox
from launcher.tracking.record.run_record import RunRecord, fold
from runtime.file_lock import is_locked
from runtime.light_dataclasses import replace
from runtime.state_dir import RunDir, StateDir

if TYPE_CHECKING:
    from launcher.plan.launch_plan import LaunchPlan

_LOOK_S = (0.1, 1.0)
"""The least and the longest pause between two looks into the run's directory. inotify hears nothing of what another machine
writes, and each look is a question to the server of a shared file system."""


class OnCluster:
    """Implements `run_place.Place` for a run that an engine has. Signals go where its supervisor is, as with a local run."""

    what = "run"
    end_fd: int | None = None

    def __init__(self, run_dir: RunDir, *, quiet: bool = True) -> None:
        self.run_dir = run_dir
        self._journal = Follower(run_dir.journal)
        self._files = (run_dir.journal, run_dir.output_index)
        self._sizes: tuple[int, ...] = ()
        self._silent_since = time.monotonic()
        self._pace = PollPace()
        self._last_words: str | None = None
        self._quiet = quiet

    @property
    def way_back(self) -> str:
        return f"`launch logs -f {self.run_dir.run_id}` shows what it says"

    def pause_s(self) -> float:
        """A fiftieth of the silence."""
        sizes = tuple(map(_size, self._files))
        if sizes != self._sizes:
            self._sizes, self._silent_since = sizes, time.monotonic()
        return min(_LOOK_S[1], max(_LOOK_S[0], (time.monotonic() - self._silent_since) / 50))

    def is_over(self) -> bool:
        if not self._journal.look().is_over:
            self._ask_engine()
        if not self._journal.look().is_over or is_locked(self.run_dir.supervisor_lock):
            return False
        recover(self.run_dir)  # where the node could not reach MLflow, this machine sends the rest
        return True

    def words_for_interrupt(self) -> str:
        return words_for_interrupt(self._journal.look())

    def end(self, signum: signal.Signals) -> None:
        job = self._journal.look().job
        if job is None:
            return
        if job.is_workers:
            request(self.run_dir, signum)
        else:
            engine_named(job.engine).signal(job.job, signum)
        reconcile({self.run_dir.run_id: (self.run_dir, job)})

    def watch(self, inbox: SignalInbox, *, quiet: bool = False, tail: int | None = None) -> int:
        self._quiet = quiet
        return watch_run(self, inbox, quiet=quiet, tail=tail)

    def _ask_engine(self) -> None:
        """When it is time: close a run whose job is over, tell why one waits. An engine that is silent is asked later."""
        job = self._journal.state.job
        if job is None or not self._pace.is_due():
            return
        try:
            status = reconcile({self.run_dir.run_id: (self.run_dir, job)}).get(self.run_dir.run_id)
            self._say(None if status is None else waiting_words(job, status))
        except LaunchError as error:
            self._say(error.message)
        self._pace.note_poll()

    def _say(self, words: str | None) -> None:
        if words is not None and words != self._last_words and not self._quiet:
            render.say(f"{render.styled('waiting', 'yellow')}: {words}")
        self._last_words = words


def submit_run(run_dir: RunDir, lock_fd: int, plan: LaunchPlan, *, quiet: bool) -> OnCluster:
    """Submit the run to its cluster, and say so."""
    job = submit(run_dir, lock_fd, plan)
    if not quiet:
        render.say(f"submitted as {plan.spec.cluster.kind} job {job}")
    return OnCluster(run_dir)


def _size(file: Path) -> int:
    try:
        return file.stat().st_size
    except FileNotFoundError:
        return 0


def waiting_words(job: Job, status: JobStatus) -> str | None:
    """`slurm job 17: Priority`; None for one that runs."""
    if status.phase is JobPhase.SUSPENDED:
        return f"{job}: suspended (it stands still until it is resumed; `launch stop` cancels it)"
    if status.phase is not JobPhase.PENDING:
        return None
    return f"{job}: {status.why or 'pending'}{f' ({status.advice})' if status.advice else ''}"


def settle_all(state: StateDir) -> dict[str, str]:
    """Close the runs whose job is over. Returns what those wait for that have not begun, by run id. An engine that doesn't answer
    is told of, and hides no run."""
    runs = submitted_runs(state)
    try:
        going_on = reconcile(runs)
        sweeps = pending_workers(state)
    except LaunchError as error:
        render.warn(f"how the runs on the cluster stand is not known: {error.message}")
        return {}
    words = ((run_id, waiting_words(runs[run_id][1], status)) for run_id, status in going_on.items())
    return {**sweeps, **{run_id: text for run_id, text in words if text is not None}}


def settled(record: RunRecord) -> RunRecord:
    """*record* once its cluster was asked: a job may be over that left no last word. Raises LaunchError when nobody answers."""
    job = read_state(record.run_dir.journal).job
    if job is None:
        return record
    reconcile({record.run_id: (record.run_dir, job)})
    return fold(record.run_dir) or record


def with_waits(records: Sequence[RunRecord], waits: dict[str, str]) -> list[RunRecord]:
    return [replace(record, waits_for=waits.get(record.run_id, record.waits_for)) for record in records]
