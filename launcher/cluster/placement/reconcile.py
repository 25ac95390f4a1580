"""Runs whose job is over without a last word in their journal get one here, from what the engine says of the job.

Whoever looks at runs calls it. What the run's own supervisor wrote always goes before: the engine is asked only where that is
missing, and its word counts only for a job that it calls over.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path

from launcher.cluster.engine import Engine, JobEnd, JobStatus
from launcher.cluster.submission import engine_named
from launcher.errors import LaunchError
from launcher.journal.events import Finished
from launcher.journal.placement import Job
from launcher.journal.run_journal import Journal, read_state
from launcher.journal.status import Reason
from runtime.file_lock import LockBusy, open_locked
from runtime.state_dir import RunDir, StateDir

_REASONS = {
    JobEnd.CANCELLED: Reason.STOPPED,
    JobEnd.TIMEOUT: Reason.TIMEOUT,
    JobEnd.OUT_OF_MEMORY: Reason.OOM,
    JobEnd.PREEMPTED: Reason.PREEMPTED,
    JobEnd.NODE_FAILED: Reason.LOST,
    JobEnd.UNKNOWN: Reason.LOST,
    JobEnd.FAILED: Reason.LAUNCHER,
    JobEnd.COMPLETED: Reason.LAUNCHER,
}
_EXIT_CODES = {Reason.STOPPED: 143, Reason.PREEMPTED: 143, Reason.TIMEOUT: 124, Reason.OOM: 137}
_LAST_BYTES = 1024


def submitted_runs(state: StateDir) -> dict[str, tuple[RunDir, Job]]:
    """The runs that a cluster has, by their ids."""
    jobs = ((run_dir, read_state(run_dir.journal).job) for run_dir in state.active.own_runs())
    return {run_dir.run_id: (run_dir, job) for run_dir, job in jobs if job is not None}


def reconcile(
    runs: Mapping[str, tuple[RunDir, Job]], *, engine_named: Callable[[str], Engine] = engine_named
) -> dict[str, JobStatus]:
    """Ask how *runs* stand, and close those whose job is over. Returns the statuses of those that go on, by run id."""
    going_on: dict[str, JobStatus] = {}
    for name in sorted({job.engine for _, job in runs.values()}):
        of_engine = {run_id: run for run_id, run in runs.items() if run[1].engine == name}
        statuses = engine_named(name).poll([job.job for _, job in of_engine.values()])
        for run_id, (run_dir, job) in of_engine.items():
            status = statuses[job.job]
            if status.is_over:
                close(run_dir, job, status)
            else:
                going_on[run_id] = status
    return going_on


def close(run_dir: RunDir, job: Job, status: JobStatus) -> None:
    """Write the last word of a run of *job*, which is over and left none."""
    has_begun = read_state(run_dir.journal).placed is not None
    message = _message(job, status, has_begun=has_begun)
    if not has_begun and status.end in (JobEnd.FAILED, JobEnd.COMPLETED):  # a line of `cluster.setup`, a Python that isn't there
        message += _last_line(run_dir.supervisor_log)
    close_as(_REASONS[status.end or JobEnd.UNKNOWN], run_dir, job, message, node_is_lost=status.end is JobEnd.NODE_FAILED)


def close_as(reason: Reason, run_dir: RunDir, job: Job, message: str, *, node_is_lost: bool = False) -> None:
    """Write the last word of a run that *job* had and that has no supervisor any more. One on a node that *is lost* may live and
    hold the lock for as long as it likes: the word fences it (`launcher.journal.fencing`), and its watchdog ends it."""
    lock_fd = None
    try:
        lock_fd = open_locked(run_dir.supervisor_lock, wait=False)
    except LockBusy:
        if not node_is_lost:
            return  # its supervisor is about to say its last words, or another process closes it
    try:
        journal = Journal(run_dir.journal)
        if journal.read().job != job:
            return
        journal.append(Finished(str(reason), _EXIT_CODES.get(reason, 125), message=message))
        _complete_the_record(run_dir)
    finally:
        if lock_fd is not None:
            os.close(lock_fd)


def _complete_the_record(run_dir: RunDir) -> None:
    """What a tracker does at a run's end; here there was none."""
    from launcher.tracking.record import record_files

    with suppress(LaunchError):  # a full disk: its last word stands
        record_files.write(run_dir)


def _last_line(log: Path) -> str:
    """What a job said last, to stand behind a sentence; "" of one that said nothing."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - _LAST_BYTES))
            lines = file.read().decode(errors="replace").strip().splitlines()
    except OSError:
        return ""
    return f": {lines[-1]}" if lines else ""


def _message(job: Job, status: JobStatus, *, has_begun: bool) -> str:
    """`slurm job 17 was cancelled before the run began`"""
    if status.end is JobEnd.UNKNOWN:
        return f"{job} is over, and it is not known how it ended: it wrote nothing, and the cluster has forgotten it"
    ended = {
        JobEnd.CANCELLED: "was cancelled",
        JobEnd.TIMEOUT: "ran into its time limit",
        JobEnd.OUT_OF_MEMORY: "ran out of the memory that it had asked for",
        JobEnd.PREEMPTED: "was preempted",
        JobEnd.NODE_FAILED: f"lost its node {status.nodes or ''}".rstrip(),
    }.get(status.end or JobEnd.FAILED, f"ended with exit code {status.exit_code}")
    when = "" if has_begun else " before the run began"
    why = f" ({status.why})" if status.why and status.end not in (JobEnd.CANCELLED, JobEnd.TIMEOUT) else ""
    return f"{job} {ended}{when}{why}"
