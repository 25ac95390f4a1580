"""A run on a cluster, from the command's side: put in line, watched as a local one is, asked about, ended.

The watcher reads what the run's supervisor writes into its directory, which both machines see, and asks the engine only while
that doesn't say.
"""

from __future__ import annotations

import select
import signal
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from launcher.cli import render
from launcher.cli.watch import Shown, ending, is_finished, tell_notes
from launcher.cluster.engine import JobPhase, JobStatus
from launcher.cluster.placement.reconcile import settle, submitted_runs
from launcher.cluster.slurm.question_pace import QuestionPace
from launcher.cluster.submission import engine_named, submit
from launcher.cluster.trials.exchange import ask
from launcher.cluster.trials.line import sweeps_in_line
from launcher.errors import LaunchError
from launcher.journal import journal
from launcher.journal.submitted import Job, job_of
from launcher.run.recover import recover
from launcher.run.supervisor.signal_inbox import SignalInbox
from launcher.tracking.record.run_record import RunRecord, fold
from runtime.file_lock import is_locked
from runtime.kernel.inotify import Inotify
from runtime.state_dir import RunDir, StateDir

if TYPE_CHECKING:
    from launcher.plan.launch_plan import LaunchPlan

_LOOK_S = (0.1, 1.0)
"""The least and the longest pause between two looks into the run's directory. inotify hears nothing of what another machine
writes, and each look is a question to the server of a shared file system."""


class OnCluster:
    """Implements `placing.Place` for a run that an engine has."""

    def __init__(self, run_dir: RunDir) -> None:
        self._run_dir = run_dir

    def watch(self, inbox: SignalInbox, *, quiet: bool = False, tail: int | None = None) -> int:
        return _watch(self._run_dir, inbox, quiet=quiet, tail=tail)

    def until_it_ends(self) -> Iterator[None]:
        asked, pace = _Asked(self._run_dir, quiet=True), _Pace(self._run_dir)
        while not is_finished(self._run_dir) or is_locked(self._run_dir.supervisor_lock):
            yield
            asked.again()
            time.sleep(pace.pause_s())
        yield
        recover(self._run_dir)

    def end(self, signum: signal.Signals) -> None:
        job = job_of(journal.read(self._run_dir.journal))
        if job is None:
            return
        if job.is_workers:
            ask(self._run_dir, signum)
        else:
            engine_named(job.engine).signal(job.job, signum)
        settle({self._run_dir.run_id: (self._run_dir, job)})


def submitted(run_dir: RunDir, lock_fd: int, plan: LaunchPlan, *, quiet: bool) -> OnCluster:
    """Put the run in its cluster's line, and say so."""
    job = submit(run_dir, lock_fd, plan)
    if not quiet:
        render.say(f"submitted as {plan.spec.cluster.kind} job {job}")
    return OnCluster(run_dir)


def _watch(run_dir: RunDir, inbox: SignalInbox, *, quiet: bool, tail: int | None) -> int:
    """Show the run until it has ended, as `watch` does. Returns the exit code of `launch`."""
    shown, notes = Shown(run_dir), journal.Follower(run_dir.journal)
    asked, pace = _Asked(run_dir, quiet=quiet), _Pace(run_dir)
    if tail is not None:
        shown.copy(tail=tail)
    with Inotify() as changes:
        changes.watch(run_dir.root)
        while not is_finished(run_dir) or is_locked(run_dir.supervisor_lock):
            shown.copy()
            tell_notes(journal.since_resumed(notes.new_events()), quiet=quiet)
            asked.again()
            ready, _, _ = select.select([changes.fileno(), inbox.fd], [], [], pace.pause_s())
            if changes.fileno() in ready:
                changes.read()
            if inbox.fd in ready and _left(inbox, run_dir):
                return 0
    shown.copy()
    recover(run_dir)  # where the node could not reach MLflow, this machine sends the rest
    return ending(run_dir, quiet=quiet)


class _Pace:
    """How long to wait for the next look: a fiftieth of the silence."""

    def __init__(self, run_dir: RunDir) -> None:
        self._files = (run_dir.journal, run_dir.output_index)
        self._sizes: tuple[int, ...] = ()
        self._since = time.monotonic()

    def pause_s(self) -> float:
        sizes = tuple(map(_size, self._files))
        if sizes != self._sizes:
            self._sizes, self._since = sizes, time.monotonic()
        return min(_LOOK_S[1], max(_LOOK_S[0], (time.monotonic() - self._since) / 50))


def _size(file: Path) -> int:
    try:
        return file.stat().st_size
    except FileNotFoundError:
        return 0


class _Asked:
    """What the engine said last, and when to ask it again."""

    def __init__(self, run_dir: RunDir, *, quiet: bool) -> None:
        self._run_dir = run_dir
        self._quiet = quiet
        self._pace = QuestionPace()
        self._said: str | None = None

    def again(self) -> None:
        """Ask when it is time: close a run whose job is over, tell why one waits. An engine that is silent is asked later."""
        if not self._pace.is_due():
            return
        job = job_of(journal.read(self._run_dir.journal))
        if job is not None:
            try:
                status = settle({self._run_dir.run_id: (self._run_dir, job)}).get(self._run_dir.run_id)
                self._tell(None if status is None else waiting_words(job, status))
            except LaunchError as error:
                self._tell(error.message)
        self._pace.asked()

    def _tell(self, words: str | None) -> None:
        if words is not None and words != self._said and not self._quiet:
            render.say(f"{render.styled('waiting', 'yellow')}: {words}")
        self._said = words


def waiting_words(job: Job, status: JobStatus) -> str | None:
    """`slurm job 17: Priority`; None for one that runs."""
    return f"{job}: {status.why or 'pending'}" if status.phase is JobPhase.PENDING else None


def _left(inbox: SignalInbox, run_dir: RunDir) -> bool:
    """Pass signals on to the run's supervisor, wherever it is. True when watching ends."""
    for signum in inbox.read():
        if signum is signal.SIGHUP:
            return True
        if signum is signal.SIGQUIT:
            render.say(f"\nleft; the run goes on, `launch logs -f {run_dir.run_id}` shows what it says")
            return True
        events = journal.since_resumed(journal.read(run_dir.journal))
        if signum is signal.SIGINT:
            stopping = any(event.name == "stopping" for event in events)
            render.say("\nkilling" if stopping else "\nstopping, again to kill")
        OnCluster(run_dir).end(signum)
    return False


def settle_all(state: StateDir) -> dict[str, str]:
    """Close the runs whose job is over. Returns what those wait for that have not begun, by run id. An engine that doesn't answer
    is told of, and hides no run."""
    runs = submitted_runs(state)
    try:
        going_on = settle(runs)
        sweeps = sweeps_in_line(state)
    except LaunchError as error:
        render.warn(f"how the runs on the cluster stand is not known: {error.message}")
        return {}
    words = ((run_id, waiting_words(runs[run_id][1], status)) for run_id, status in going_on.items())
    return {**sweeps, **{run_id: text for run_id, text in words if text is not None}}


def settled(record: RunRecord) -> RunRecord:
    """*record* once its cluster was asked: a job may be over that left no last word. Raises LaunchError when nobody answers."""
    job = job_of(journal.read(record.run_dir.journal))
    if job is None:
        return record
    settle({record.run_id: (record.run_dir, job)})
    return fold(record.run_dir) or record


def with_waits(records: Sequence[RunRecord], waits: dict[str, str]) -> list[RunRecord]:
    return [replace(record, waits_for=waits.get(record.run_id, record.waits_for)) for record in records]
