"""At the end of an attempt: was it the cluster that ended it, and will it begin the job again?

A signal does not say: Slurm sends SIGTERM for scancel, for preemption and when an operator requeues a job, and what announces the
time limit may announce preemption, too (PreemptParameters=send_user_signal). So Slurm is asked.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, NamedTuple

from launcher.cluster.engine import Engine, JobPhase, JobStatus
from launcher.cluster.slurm.own_job import own_job
from launcher.cluster.submission import engine_named
from launcher.errors import LaunchError
from launcher.journal.events import AttemptEnded, Note
from launcher.journal.run_journal import Journal
from launcher.journal.run_state import RunState
from launcher.journal.status import Reason
from launcher.run.supervisor import supervisor
from launcher.run.supervisor.attempt import Attempt
from launcher.run.supervisor.outcome import ExitOutcome
from runtime.light_dataclasses import replace
from runtime.state_dir import RunDir

_MAYBE_THE_CLUSTERS = frozenset({Reason.STOPPED, Reason.TIMEOUT, Reason.PROGRAM, Reason.LOST, Reason.LAUNCHER})


class ClusterDecision(NamedTuple):
    """What the cluster does to a job whose attempt has ended."""

    preempts: bool
    requeues: bool
    """It has put it in its queue again already."""


def decision_in(status: JobStatus, *, restarts: int) -> ClusterDecision:
    """What *status* means for the placement that was the job's *restarts*-th restart."""
    requeues = status.attempt > restarts + 1 or status.phase is JobPhase.PENDING
    return ClusterDecision(preempts=status.preempted, requeues=requeues)


def is_requeued(state: RunState, placement: str) -> bool:
    """Whether the job of *placement* is in the queue again; then its run, which is in *state*, is not over. Also when the engine
    does not answer: the next one who looks at the run asks again."""
    job = state.job
    if job is None:
        return False
    try:
        status = engine_named(job.engine).poll([job.job])[job.job]
    except LaunchError:
        return True
    return decision_in(status, restarts=int(placement.rpartition(".")[2])).requeues


def close_or_requeue(run_dir: RunDir, journal: Journal, attempt: Attempt) -> None:
    """The placement's last word: `finished`, or `attempt` where Slurm begins the job again."""
    state = journal.read()
    assert state.job is not None, "a job that was never submitted"
    engine, job, outcome = engine_named(state.job.engine), state.job.job, attempt.outcome
    decision = _ask(engine, job) if outcome.reason in _MAYBE_THE_CLUSTERS else None
    if decision is None:
        supervisor.close(run_dir, journal, attempt)
        return
    outcome = _with_reason(outcome, decision)
    if decision.requeues or _requeue(run_dir, journal, state, engine, job, outcome):
        number = state.placements[-1].attempt
        journal.append(AttemptEnded(number, str(outcome.reason), outcome.exit_code, outcome.detail, requeued=True))
    else:
        supervisor.close(run_dir, journal, replace(attempt, outcome=outcome))


def _ask(engine: Engine, job: str) -> ClusterDecision | None:
    """None when the engine does not answer."""
    try:
        return decision_in(engine.poll([job])[job], restarts=own_job().restarts)
    except LaunchError:
        return None


def _with_reason(outcome: ExitOutcome, decision: ClusterDecision) -> ExitOutcome:
    if decision.preempts:
        return replace(outcome, reason=Reason.PREEMPTED, detail="the cluster gave its place to another job", exit_code=143)
    if decision.requeues:
        return replace(outcome, reason=Reason.PREEMPTED, detail="its job was requeued")
    return outcome


def _requeue(run_dir: RunDir, journal: Journal, state: RunState, engine: Engine, job: str, outcome: ExitOutcome) -> bool:
    """Put the job in the queue again where Slurm takes it for one that has ended by itself: it was told of its preemption in
    advance and ended in time, or has met its time limit, and `retry_on` names that. Whether that was done."""
    spec = json.loads(run_dir.plan.read_bytes())["plan"]["spec"]
    if not spec["cluster"].get("requeue") or not _may_go_on(outcome.reason, spec, state):
        return False
    try:
        engine.requeue(job)
    except LaunchError as error:
        journal.append(Note(f"the job could not be requeued: {error.message}"))
        return False
    return True


def _may_go_on(reason: Reason, spec: Mapping[str, Any], state: RunState) -> bool:
    """`retries` are counted over all placements here, since each has but one time limit."""
    if reason is Reason.TIMEOUT and Reason.TIMEOUT in spec["retry_on"]:
        return bool(sum(ended.reason == reason for ended in state.ended_attempts) < spec["retries"])
    return reason is Reason.PREEMPTED
