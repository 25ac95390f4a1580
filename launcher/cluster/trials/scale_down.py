"""Workers that are wanted no more leave: the cluster's line, or their node after the trial that they have."""

from __future__ import annotations

from collections.abc import Sequence

from launcher.cluster.engine import Engine
from launcher.cluster.submission import engine_named
from launcher.cluster.trials.exchange import worker_dirs
from launcher.cluster.trials.worker_job import WorkerJob, read_worker
from runtime.state_dir import RunDir


def dismiss(workers: Sequence[WorkerJob], engine: Engine) -> None:
    """Send *workers* away. Raises LaunchError when the engine doesn't answer; then a job that begins all the same leaves."""
    for worker in workers:
        worker.send_away()
    waiting = [worker.job.job for worker in workers if not worker.has_begun]
    if waiting:
        engine.cancel(*waiting)


def leave_line(sweep: RunDir) -> None:
    """For a sweep whose process was killed: nobody waits for its trials any more."""
    workers = [worker for worker in map(read_worker, worker_dirs(sweep)) if worker is not None and worker.is_staying]
    for name in sorted({worker.job.engine for worker in workers}):
        dismiss([worker for worker in workers if worker.job.engine == name], engine_named(name))
