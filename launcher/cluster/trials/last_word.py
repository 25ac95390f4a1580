"""The last word of a worker's trial: what its program did, or that its worker's job was ended under it.

A signal doesn't say which. What is asked of a trial stands in its requests; an end that nobody asked for came with the job's, and
such a trial is tried again by another worker.
"""

from __future__ import annotations

import json
import time
from dataclasses import replace

from launcher.cluster.engine import JobPhase
from launcher.cluster.submission import engine_named
from launcher.cluster.trials.exchange import is_asked
from launcher.errors import LaunchError
from launcher.journal import journal
from launcher.journal.run_journal import Journal
from launcher.journal.status import Reason
from launcher.journal.submitted import job_of
from launcher.run.supervisor import supervisor
from launcher.run.supervisor.attempt import Attempt
from launcher.run.supervisor.outcome import ExitOutcome
from runtime.state_dir import RunDir

_ENDED = "its worker's job was ended"
_OUT_OF_TIME = "its worker's job came to the end of its time, some of which other trials had"


def close(run_dir: RunDir, written: Journal, attempt: Attempt, *, is_first: bool) -> None:
    """*is_first*: of its worker, so that it had all of the job's time."""
    outcome = attempt.outcome
    why = None if is_asked(run_dir) else _of_the_job(run_dir, outcome, is_first=is_first)
    if why is not None:
        outcome = replace(outcome, reason=Reason.PREEMPTED, exit_code=143, detail=why)
    supervisor.close(run_dir, written, replace(attempt, outcome=outcome))


def _of_the_job(run_dir: RunDir, outcome: ExitOutcome, *, is_first: bool) -> str | None:
    """Why it was the job that ended the trial; None when it was not."""
    if outcome.reason is Reason.TIMEOUT:
        return None if is_first or _is_over_its_own_timeout(run_dir) else _OUT_OF_TIME
    if outcome.reason in (Reason.STOPPED, Reason.INTERRUPTED):
        return _ENDED
    # Slurm sends SIGTERM to the program, too, and that one may end before we hear of anything.
    if outcome.reason in (Reason.PROGRAM, Reason.LOST) and (outcome.signal or outcome.exit_code > 125):
        return _ENDED if _job_is_ending(run_dir) else None
    return None


def _is_over_its_own_timeout(run_dir: RunDir) -> bool:
    timeout = json.loads(run_dir.spec.read_bytes()).get("timeout")
    started = [event.at for event in journal.read(run_dir.journal) if event.name == "started"]
    return timeout is not None and bool(started) and time.time() - started[-1] >= timeout


def _job_is_ending(run_dir: RunDir) -> bool:
    job = job_of(journal.read(run_dir.journal))
    if job is None:
        return False
    try:
        return engine_named(job.engine).poll([job.job])[job.job].phase is not JobPhase.RUNNING
    except LaunchError:
        return False
