"""A run's files and its way to MLflow, in the hands of whoever sends: its tracker while it goes on (`tracked_run.py`), later
`sync_run` for what MLflow missed, because the server was down or the tracker was killed.

Both hold `tracker.lock`, so that a run's tracker and a `launch sync` never send at once. `delete_in_mlflow` takes a run back.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from launcher.journal.run_journal import read_state
from launcher.tracking import tracker_state
from launcher.tracking.metrics.metric_files import MetricFile, metric_files
from launcher.tracking.metrics.metric_log import MetricLog
from launcher.tracking.mlflow.address import LocalAddress
from launcher.tracking.mlflow.description import Description, describe
from launcher.tracking.mlflow.local_sink import open_sink
from launcher.tracking.mlflow.rest import Mlflow, MlflowRefused
from launcher.tracking.mlflow.sink import address_of
from runtime.file_lock import LockBusy, locked
from runtime.state_dir import RunDir, StateDir


@dataclass(frozen=True, slots=True)
class OpenRun:
    """What is found of a run, and what MLflow is told of it."""

    run_dir: RunDir
    log: MetricLog
    files: tuple[MetricFile, ...]
    description: Description | None
    """None: MLflow shall not know of it."""

    def follow(self, *, to_the_end: bool = False) -> None:
        """Take in the metrics that files have got since the last time. Raises LaunchError and OSError."""
        for file in self.files:
            file.follow(to_the_end=to_the_end)
        self.log.write_last_metrics(at_once=to_the_end)


@contextmanager
def open_run(run_dir: RunDir, *, wait: bool = True) -> Iterator[OpenRun]:
    """Hold the run for the body. Raises LockBusy, when somebody else has it and *wait* is false."""
    with locked(lock_path(run_dir), wait=wait), closing(MetricLog(run_dir)) as log:
        yield OpenRun(run_dir, log, metric_files(run_dir, log), describe(run_dir))


def is_synced(run_dir: RunDir) -> bool:
    """Whether MLflow knows the end of the run, or shall not know of the run at all. Cheap: no server is asked."""
    description = describe(run_dir)
    if description is None:
        return True
    return tracker_state.is_complete(tracker_state.load(run_dir), *read_state(run_dir.journal).status)


def sync_run(run_dir: RunDir, *, timeout_s: float = 60.0, environ: Mapping[str, str] = os.environ) -> bool:
    """Bring the record and MLflow up to date with the run's directory. False when its own tracker is at it, or tracking is off.

    Raises LaunchError when MLflow cannot be reached or refuses.
    """
    try:
        with open_run(run_dir, wait=False) as run:
            run.follow(to_the_end=True)
            if run.description is None:
                return False
            sink = open_sink(run_dir, run.description, timeout_s=timeout_s, environ=environ)
            if run.log.notes:  # what they are about is taken in, and nobody comes upon it again
                sink.state.notes = run.log.notes
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
    """Held by whoever sends for the run."""
    return run_dir.place / "tracker.lock"


def delete_in_mlflow(run_dir: RunDir, *, environ: Mapping[str, str] = os.environ) -> bool:
    """Delete the run there, as MLflow's UI does: it can be restored until somebody runs `mlflow gc`. False when MLflow has no
    such run. Raises LaunchError when it cannot be reached or refuses."""
    description = describe(run_dir)
    try:
        run_id = str(json.loads(run_dir.mlflow.read_bytes())["run_id"])
    except (FileNotFoundError, ValueError, KeyError):
        return False
    if description is None:
        return False
    address = address_of(run_dir, description, environ)
    if isinstance(address, LocalAddress):
        from launcher.tracking.mlflow.local_server import ensure_server

        ensure_server(StateDir(address.state_root))
    client = Mlflow(address, environ=environ)
    try:
        client.post("runs/delete", {"run_id": run_id})
    except MlflowRefused as error:
        if error.code != "RESOURCE_DOES_NOT_EXIST":
            raise
        return False
    finally:
        client.close()
    return True
