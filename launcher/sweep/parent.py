"""The parent run of a sweep: a journal and an MLflow run without a container, with the trials as children.

It has no plan and no supervisor: the process that runs the sweep holds its lock and closes it. A parent whose process was
killed is closed by the next command that looks (`recover.py`).
"""

from __future__ import annotations

import json
import os
import shlex
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from launcher.config.spec import ExperimentSpec, Sweep
from launcher.run import active
from launcher.run.handover import announce_pid
from launcher.run.tracker_process import start_tracker
from launcher.sweep.run_sweep import SweepEnd
from launcher.tracking import journal
from launcher.tracking.description import Description, user_name, write_description
from launcher.tracking.record import process_started
from launcher.tracking.status import Reason
from runtime.state_dir import RunDir, StateDir


@dataclass(slots=True)
class SweepParent:
    """An open parent run."""

    run_dir: RunDir
    closed: bool = False

    @property
    def run_id(self) -> str:
        return self.run_dir.run_id

    def close(self, end: SweepEnd, settings: Sweep, *, total: int) -> None:
        """Write the sweep's end into the journal: why, how many, and the best trial with its metric."""
        self.closed = True
        facts: dict[str, Any] = {"trials": total, "trials_finished": end.finished}
        if len(end.best) == 1:
            best = end.best[0]
            trial = next(trial for trial in end.trials if trial.number == best.trial)
            facts |= {
                "best_trial": best.trial,
                "best_run_id": trial.run_id,
                "best_mlflow_run_id": trial.mlflow_run_id,
                "best_overrides": shlex.join(trial.overrides),
            }
            with self.run_dir.metrics.open("a") as metrics:
                metrics.write(json.dumps({"step": best.trial, **dict(zip(settings.metrics, best.values, strict=True))}) + "\n")
        complete = end.reason is Reason.COMPLETED
        journal.append(
            self.run_dir.journal, "finished", reason=str(end.reason), exit_code=int(not complete), signal=None, facts=facts
        )


@contextmanager
def sweep_parent(
    spec: ExperimentSpec, state: StateDir, *, name: str | None, note: str | None, command_line: tuple[str, ...]
) -> Iterator[SweepParent]:
    """Open the parent run for the body; its tracker tells MLflow. A body that fails leaves it closed with reason `launcher`."""
    with active.beginning(state) as (run_dir, lock_fd):
        announce_pid(lock_fd)
        if spec.tracking is not None:
            write_description(run_dir, _description(run_dir, spec, name, note, command_line))
        journal.append(run_dir.journal, "created", **_created(run_dir, spec, name, note, command_line))
    tracker = start_tracker(run_dir)
    journal.append(run_dir.journal, "started", attempt=1)
    parent = SweepParent(run_dir)
    try:
        yield parent
    finally:
        if not parent.closed:
            journal.append(run_dir.journal, "finished", reason=str(Reason.LAUNCHER), exit_code=125, signal=None)
        tracker.finish()
        active.unmark(run_dir)
        os.close(lock_fd)


def _created(
    run_dir: RunDir, spec: ExperimentSpec, name: str | None, note: str | None, command_line: tuple[str, ...]
) -> dict[str, Any]:
    return {
        "run_id": run_dir.run_id,
        "experiment": spec.name,
        "name": name,
        "note": note,
        "sweep_id": run_dir.run_id,
        "command": list(command_line),
        "pid": os.getpid(),
        "pid_started": process_started(os.getpid()),
        "tracking": spec.tracking is not None,
        "host": socket.gethostname(),
        "user": os.environ.get("USER") or str(os.getuid()),
    }


def _description(
    run_dir: RunDir, spec: ExperimentSpec, name: str | None, note: str | None, command_line: tuple[str, ...]
) -> Description:
    tracking = spec.tracking
    assert tracking is not None
    user = user_name(os.environ.get("USER") or str(os.getuid()))
    tags = {
        **spec.tags,
        "mlflow.source.name": shlex.join(command_line),
        "mlflow.source.type": "LOCAL",
        "mlflow.project.entryPoint": spec.name,
        "mlflow.user": user,
        "launch.experiment": spec.name,
        "launch.host": socket.gethostname(),
        "launch.run_id": run_dir.run_id,
        "launch.sweep_id": run_dir.run_id,
    }
    return Description(
        experiment=tracking.experiment or spec.name,
        run_name=tracking.run_name or name or f"{spec.name} sweep {run_dir.run_id}",
        user=user,
        start_ms=int(time.time() * 1000),
        uri=tracking.uri,
        scope=tracking.scope,
        artifacts=False,
        tags={**tags, "mlflow.note.content": note} if note else tags,
        may_use_mlflow=False,
    )
