"""At the end of an attempt: was it the cluster that ended it, and will it begin the job again?

A signal does not say: Slurm sends SIGTERM for scancel, for preemption and when an operator requeues a job, and what announces the
time limit may announce preemption, too (PreemptParameters=send_user_signal). So Slurm is asked.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from launcher.cluster.engine import Engine, JobPhase, JobStatus
from launcher.cluster.slurm.own_job import own_job
from launcher.cluster.submission import engine_named
from launcher.errors import LaunchError
from launcher.journal import journal
from launcher.journal.run_journal import Journal
from launcher.journal.status import Reason
from launcher.journal.submitted import job_of
from launcher.run.supervisor import supervisor
from launcher.run.supervisor.attempt import Attempt
from launcher.run.supervisor.outcome import ExitOutcome
from runtime.state_dir import RunDir

_MAYBE_THE_CLUSTERS = frozenset({Reason.STOPPED, Reason.TIMEOUT, Reason.PROGRAM, Reason.LOST, Reason.LAUNCHER})


@dataclass(frozen=True, slots=True)
class Taken:
    """What the cluster does to a job whose attempt has ended."""

    preempted: bool
    begins_again: bool
    """It has been put in line again already."""


def taken(status: JobStatus, *, restarts: int) -> Taken:
    """What *status* means for the placement that was the job's *restarts*-th beginning again."""
    again = status.attempt > restarts + 1 or (status.phase is JobPhase.PENDING)
    return Taken(preempted=status.preempted, begins_again=again)


def close_or_leave(run_dir: RunDir, written: Journal, attempt: Attempt) -> None:
    """The placement's last word: `finished`, or `attempt` where Slurm begins the job again."""
    engine, job, found = _asked(run_dir, attempt.outcome)
    if found is None:
        supervisor.close(run_dir, written, attempt)
        return
    outcome = _with_reason(attempt.outcome, found)
    if found.begins_again or _requeued(run_dir, engine, job, outcome):
        leave(run_dir, outcome)
    else:
        supervisor.close(run_dir, written, replace(attempt, outcome=outcome))


def leave(run_dir: RunDir, outcome: ExitOutcome) -> None:
    """This attempt is over, its placement with it, and the job will begin again."""
    number = [event.get("attempt") for event in journal.read(run_dir.journal) if event.name in ("placed", "started")][-1]
    journal.append(
        run_dir.journal,
        "attempt",
        attempt=number,
        reason=str(outcome.reason),
        exit_code=outcome.exit_code,
        message=outcome.detail,
        requeued=True,
    )


def goes_on(events: Sequence[journal.Event], placement: str) -> bool:
    """Whether the job of *placement* has been put in line again; then its run is not over. Also when nobody answers: the next
    one who looks at the run asks again."""
    job = job_of(events)
    if job is None:
        return False
    try:
        status = engine_named(job.engine).poll([job.job])[job.job]
    except LaunchError:
        return True
    return taken(status, restarts=int(placement.rpartition(".")[2])).begins_again


def _asked(run_dir: RunDir, outcome: ExitOutcome) -> tuple[Engine, str, Taken | None]:
    job = job_of(journal.read(run_dir.journal))
    assert job is not None, "a job that nobody has submitted"
    engine = engine_named(job.engine)
    if outcome.reason not in _MAYBE_THE_CLUSTERS:
        return engine, job.job, None
    try:
        status = engine.poll([job.job])[job.job]
    except LaunchError:
        return engine, job.job, None
    return engine, job.job, taken(status, restarts=own_job().restarts)


def _may_go_on(reason: Reason, spec: Mapping[str, Any], events: Sequence[journal.Event]) -> bool:
    """`retries` are counted over all placements here, since each has but one time limit."""
    if reason is Reason.TIMEOUT and Reason.TIMEOUT in spec["retry_on"]:
        earlier = sum(event.name == "attempt" and event.get("reason") == reason for event in journal.since_resumed(events))
        return bool(earlier < spec["retries"])
    return reason is Reason.PREEMPTED


def _with_reason(outcome: ExitOutcome, found: Taken) -> ExitOutcome:
    if found.preempted:
        return replace(outcome, reason=Reason.PREEMPTED, detail="the cluster gave its place to another job", exit_code=143)
    if found.begins_again:
        return replace(outcome, reason=Reason.PREEMPTED, detail="its job was requeued")
    return outcome


def _requeued(run_dir: RunDir, engine: Engine, job: str, outcome: ExitOutcome) -> bool:
    """Put the job in line again where Slurm takes it for one that has ended by itself: it was told of its preemption in advance
    and ended in time, or has met its time limit, and `retry_on` names that."""
    spec = json.loads(run_dir.plan.read_bytes())["plan"]["spec"]
    if not spec["cluster"].get("requeue") or not _may_go_on(outcome.reason, spec, journal.read(run_dir.journal)):
        return False
    try:
        engine.requeue(job)
    except LaunchError as error:
        journal.append(run_dir.journal, "note", text=f"the job could not be put in line again: {error.message}")
        return False
    return True
