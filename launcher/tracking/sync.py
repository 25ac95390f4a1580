"""Send to MLflow what it missed of runs that are over: the server was down, or the tracker was killed.

The same `Sink` as during the run, under the same lock, so that a run's tracker and a `launch sync` never push at once.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path

from launcher.journal.journal import read
from launcher.tracking import tracker_state
from launcher.tracking.metrics.metric_files import metric_files
from launcher.tracking.metrics.metric_log import Observed
from launcher.tracking.mlflow.address import LocalAddress
from launcher.tracking.mlflow.description import current_status, describe
from launcher.tracking.mlflow.local_sink import open_sink
from runtime.file_lock import LockBusy, locked
from runtime.state_dir import RunDir, StateDir


def is_synced(run_dir: RunDir) -> bool:
    """Whether MLflow knows the end of the run, or shall not know of the run at all. Cheap: no server is asked."""
    description = describe(run_dir)
    if description is None:
        return True
    return tracker_state.is_complete(tracker_state.load(run_dir), *current_status(read(run_dir.journal)))


def sync_run(run_dir: RunDir, *, timeout_s: float = 60.0, environ: Mapping[str, str] = os.environ) -> bool:
    """Bring the record and MLflow up to date with the run's directory. False when its own tracker is at it, or tracking is off.

    Raises LaunchError when MLflow cannot be reached or refuses.
    """
    try:
        with locked(lock_path(run_dir), wait=False), closing(Observed(run_dir)) as observed:
            for file in metric_files(run_dir, observed):
                file.follow(to_the_end=True)
            observed.write_last_metrics()
            description = describe(run_dir)
            if description is None:
                return False
            sink = open_sink(run_dir, description, timeout_s=timeout_s, environ=environ)
            if observed.notes:  # what they are about is taken in, and nobody comes upon it again
                sink.state.notes = observed.notes
                tracker_state.save(run_dir, sink.state)
            if isinstance(sink.address, LocalAddress):
                from launcher.tracking.mlflow.local_server import ensure_server

                ensure_server(StateDir(sink.address.state_root))
            with closing(sink.client):
                sink.push()
            if sink.state.refused:
                tracker_state.save(run_dir, sink.state)
            return True
    except LockBusy:
        return False


def lock_path(run_dir: RunDir) -> Path:
    """Held by whoever pushes for the run."""
    return run_dir.place / "tracker.lock"
