"""A run's files and its way to MLflow, in the hands of whoever sends: its tracker while it goes on (`tracked_run.py`), later
`sync_run` for what MLflow missed, because the server was down or the tracker was killed: called by the sender (`sender.py`), and
by `launch sync`.

All hold `tracker.lock`, so that no two send at once. `delete_in_mlflow` takes a run back.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

from launcher.errors import ConfigError, LaunchError
from launcher.journal.run_journal import read_state
from launcher.tracking import tracker_state
from launcher.tracking.metrics.metric_files import MetricFile, metric_files
from launcher.tracking.metrics.metric_log import MetricLog
from launcher.tracking.mlflow.address import LocalAddress
from launcher.tracking.mlflow.description import Description, describe
from launcher.tracking.mlflow.local_sink import open_sink
from launcher.tracking.mlflow.rest import Mlflow, MlflowRefused
from launcher.tracking.mlflow.sink import address_of
from launcher.tracking.tracker_state import TrackerState
from runtime.errors import place_and_words
from runtime.file_lock import LockBusy, locked
from runtime.light_dataclasses import dataclass
from runtime.state_dir import RunDir, StateDir
from runtime.whole_file import remove_partials

_WRITTEN_WHOLE = (
    *("tracker.json", "mlflow.json", "last_metrics.json"),
    *("spec.yaml", "requirements.lock", "code.tar", "outputs.json"),
)
"""What only whoever has the run open writes, and may be killed while it does."""


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
        remove_partials(run_dir.place, _WRITTEN_WHOLE)
        yield OpenRun(run_dir, log, metric_files(run_dir, log), describe(run_dir))


def complete_files(run_dir: RunDir) -> None:
    """Make what a tracker makes at the end of a run that MLflow hears nothing of, and was killed before or while it did."""
    with suppress(LockBusy, LaunchError), open_run(run_dir, wait=False):
        from launcher.tracking.record import record_files

        record_files.write(run_dir)


def is_synced(run_dir: RunDir) -> bool:
    """Whether MLflow knows the end of the run, or shall not know of the run at all. Cheap: no server is asked."""
    description = describe(run_dir)
    if description is None:
        return True
    return tracker_state.is_complete(tracker_state.load(run_dir), *read_state(run_dir.journal).status)


def has_to_be_sent(run_dir: RunDir) -> bool:
    """Whether MLflow lacks something of the run, and may still take it."""
    return not is_synced(run_dir) and not tracker_state.load(run_dir).is_given_up


def sync_run(run_dir: RunDir, *, timeout_s: float = 60.0, wait: bool = False) -> bool:
    """Bring the record and MLflow up to date with the run's directory. False when tracking is off, or somebody else is at
    it and *wait* is false.

    Raises LaunchError when MLflow cannot be reached or refuses, OSError when a file of ours can't be read or written: both are
    noted with the run. A run that is through, or refused for good, leaves the list of those that wait (`StateDir.unsent`).
    """
    try:
        with open_run(run_dir, wait=wait) as run:
            try:
                run.follow(to_the_end=True)
                if run.description is not None:
                    _push(run, run.description, timeout_s=timeout_s)
            except (LaunchError, OSError) as error:
                state = tracker_state.load(run_dir)
                note_failure(state, error)
                with suppress(OSError):  # a full disk; who comes next finds the same
                    tracker_state.save(run_dir, state)
                raise
            finally:
                _leave_list(run_dir)
            return run.description is not None
    except LockBusy:
        return False


def _push(run: OpenRun, description: Description, *, timeout_s: float) -> None:
    sink = open_sink(run.run_dir, description, timeout_s=timeout_s, environ=os.environ)
    if run.log.notes:  # what they are about is taken in, and nobody comes upon it again
        sink.state.notes = run.log.notes
        tracker_state.save(run.run_dir, sink.state)
    if isinstance(sink.address, LocalAddress):
        from launcher.tracking.mlflow.local_server import ensure_server

        ensure_server(StateDir(sink.address.state_root))
    with closing(sink.client):
        sink.push()
        sink.push_files()
    if sink.state.refused:
        tracker_state.save(run.run_dir, sink.state)


def note_failure(state: TrackerState, error: LaunchError | OSError | None) -> None:
    """Why MLflow has not got all of the run, and whether it would say so again; None: there is no such reason any more."""
    state.failure = words_of(error) or ""
    # An experiment was deleted, an address is none.
    state.is_given_up = isinstance(error, ConfigError) or (isinstance(error, MlflowRefused) and error.is_final)
    state.needs_credentials = isinstance(error, MlflowRefused) and error.lacks_credentials


def words_of(error: LaunchError | OSError | None) -> str | None:
    """What failed, and what to do about it."""
    if error is None:
        return None
    if isinstance(error, OSError):
        return place_and_words(error)
    return f"{error.message}; {error.hint}" if error.hint else error.message


def _leave_list(run_dir: RunDir) -> None:
    """Take the run off the list when nothing is to be sent, or it goes on again: its end puts it back."""
    if has_to_be_sent(run_dir) and read_state(run_dir.journal).is_over:
        return
    run_dir.state.unsent.remove(run_dir)
    if read_state(run_dir.journal).is_over and has_to_be_sent(run_dir):
        run_dir.state.unsent.add(run_dir)  # it has ended between the look and the removal


def lock_path(run_dir: RunDir) -> Path:
    """Held by whoever sends for the run."""
    return run_dir.place / "tracker.lock"


def delete_in_mlflow(run_dir: RunDir) -> bool:
    """Delete the run there, as MLflow's UI does: it can be restored until somebody runs `mlflow gc`. False when MLflow has no
    such run. Raises LaunchError when it cannot be reached or refuses."""
    description = describe(run_dir)
    try:
        run_id = str(json.loads(run_dir.mlflow.read_bytes())["run_id"])
    except (FileNotFoundError, ValueError, KeyError):
        return False
    if description is None:
        return False
    address = address_of(run_dir, description, os.environ)
    if isinstance(address, LocalAddress):
        from launcher.tracking.mlflow.local_server import ensure_server

        ensure_server(StateDir(address.state_root))
    client = Mlflow(address, environ=os.environ)
    try:
        client.post("runs/delete", {"run_id": run_id})
    except MlflowRefused as error:
        if error.code != "RESOURCE_DOES_NOT_EXIST":
            raise
        return False
    finally:
        client.close()
    return True
