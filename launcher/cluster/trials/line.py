"""What the sweeps that run wait for in their cluster's line, for whoever looks at them."""

from __future__ import annotations

from collections.abc import Sequence

from launcher.cluster.engine import JobPhase
from launcher.cluster.submission import engine_named
from launcher.cluster.trials.exchange import worker_dirs
from launcher.cluster.trials.worker_job import WorkerJob, read_worker
from launcher.run import active
from runtime.plurals import counted
from runtime.state_dir import RunDir, StateDir


def sweeps_in_line(state: StateDir) -> dict[str, str]:
    """Sweep → `10 worker jobs in line at slurm (Resources)`, where any are."""
    words = ((run_dir.run_id, _words(run_dir)) for run_dir in active.active_runs(state) if run_dir.workers.is_dir())
    return {run_id: text for run_id, text in words if text is not None}


def waiting_words(engine: str, number: int, reasons: Sequence[str]) -> str:
    """Of worker jobs: how many, and in the engine's words why."""
    why = f" ({', '.join(sorted(set(reasons)))})" if reasons else ""
    return f"{counted(number, 'worker job')} in line at {engine}{why}"


def _words(sweep: RunDir) -> str | None:
    workers = [worker for worker in map(read_worker, worker_dirs(sweep)) if worker is not None and _may_wait(worker)]
    if not workers:
        return None
    engine = workers[0].job.engine
    statuses = engine_named(engine).poll([worker.job.job for worker in workers]).values()
    pending = [status.why for status in statuses if status.phase is JobPhase.PENDING]
    return waiting_words(engine, len(pending), [why for why in pending if why]) if pending else None


def _may_wait(worker: WorkerJob) -> bool:
    return worker.is_staying and not worker.has_begun
