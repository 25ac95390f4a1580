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
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from launcher.config.spec import ExperimentSpec, Sweep
from launcher.errors import ConfigError, LaunchError
from launcher.journal.events import Created, Finished, Note, Started
from launcher.journal.run_journal import Journal, append_line
from launcher.journal.status import INTERRUPTED_CODE, Reason
from launcher.run.notice import keep_receiver
from launcher.run.sending import close_run
from launcher.run.start.create_run import begin_run
from launcher.run.start.supervisor_link import open_supervisor, other_machine
from launcher.run.supervisor.signal_inbox import SignalInbox
from launcher.run.supervisor.tracker_process import TrackerProcess
from launcher.sweep.run_sweep import SweepEnd
from launcher.sweep.trial_log import Verdict
from launcher.tracking.mlflow.description import Description, user_name, write_description
from launcher.tracking.record.run_record import fold
from runtime.errors import RuntimeFailure
from runtime.file_lock import LockBusy, open_locked
from runtime.kernel.lock_holder import announce_holder
from runtime.kernel.process_identity import process_started
from runtime.light_dataclasses import dataclass
from runtime.state_dir import RunDir, StateDir
from runtime.store.failures import of_the_disk

_PATIENCE_S = 600.0
_LOOK_S = 0.5


@dataclass(slots=True)
class SweepParent:
    """An open parent run."""

    run_dir: RunDir
    journal: Journal
    inbox: SignalInbox | None = None
    """Who asks through it for the end of the sweep's process, when the sweep is over, has it."""
    tracker: TrackerProcess | None = None
    """None: the sweep has not begun, or not begun again."""
    is_open: bool = False
    """Whether the journal has its beginning, or its new one, and not its end."""

    @property
    def run_id(self) -> str:
        return self.run_dir.run_id

    def begin(self, inbox: SignalInbox) -> None:
        """The sweep runs from now on, for the first time or again. Forks the tracker, which keeps the standard streams."""
        self.inbox = inbox
        self.is_open = True
        self.run_dir.state.active.add(self.run_dir)
        self.run_dir.state.unsent.remove(self.run_dir)  # its next end says anew what MLflow lacks
        self.tracker = TrackerProcess(self.run_dir)
        self.journal.append(Started())

    def message(self, text: str) -> None:
        """Say something to whoever watches."""
        self.journal.append(Note(text))

    def close(self, end: SweepEnd, settings: Sweep, *, total: int) -> None:
        """Write the sweep's end into the journal: why, how many, and the best trial with its metric."""
        finished, pruned = end.count(Verdict.COMPLETE), end.count(Verdict.PRUNED)
        facts: dict[str, Any] = {"trials": total, "trials_finished": finished, "trials_pruned": pruned}
        if len(end.best) == 1:
            best = end.best[0]
            trial = next(trial for trial in end.trials if trial.number == best.trial)
            record = fold(RunDir(self.run_dir.root.with_name(trial.run_id)))  # MLflow may have learnt of it since it ended
            facts |= {
                "best_trial": best.trial,
                "best_run_id": trial.run_id,
                "best_mlflow_run_id": None if record is None else record.mlflow_run_id,
                "best_overrides": shlex.join(trial.overrides),
            }
            line = json.dumps({"step": best.trial, **dict(zip(settings.metrics, best.values, strict=True))}) + "\n"
            _when_there_is_room(lambda: append_line(self.run_dir.metrics, line.encode()))
        codes = {Reason.COMPLETED: 0, Reason.INTERRUPTED: INTERRUPTED_CODE}
        self._finish(Finished(str(end.reason), codes.get(end.reason, 1), facts=facts))

    def fail(self, error: BaseException) -> None:
        """Close it, unless it is or had not begun: the sweep's process cannot go on."""
        if not self.is_open:
            return
        exit_code = error.exit_code if isinstance(error, LaunchError) else 125
        hint = error.hint if isinstance(error, LaunchError | RuntimeFailure) else None
        self._finish(Finished(str(Reason.LAUNCHER), exit_code, message=_words(error), hint=hint))

    def _finish(self, finished: Finished) -> None:
        self.is_open = False
        _when_there_is_room(lambda: self.journal.append(finished))


@contextmanager
def new_parent(
    spec: ExperimentSpec, state: StateDir, *, name: str | None, note: str | None, command_line: tuple[str, ...]
) -> Iterator[SweepParent]:
    """The parent run of a new sweep, to `begin` in the body. A body that fails leaves it closed with reason `launcher`."""
    with begin_run(state) as (run_dir, lock_fd):
        announce_holder(lock_fd)
        journal = Journal(run_dir.journal)
        journal.append(_created(run_dir, spec, name, note, command_line))
        journal.confirm()
        keep_receiver(run_dir, spec.notify)
        if spec.tracking is not None:
            write_description(run_dir, _description(run_dir, spec, name, note, command_line))
    with _opened(SweepParent(run_dir, journal, is_open=True), lock_fd) as parent:
        yield parent


@contextmanager
def reopened_parent(run_dir: RunDir) -> Iterator[SweepParent]:
    """The parent of a sweep that goes on. Nothing is written until `begin`. Raises ConfigError when it still runs."""
    lock_fd = _lock_of_the_dead(run_dir)
    announce_holder(lock_fd)
    with _opened(SweepParent(run_dir, Journal(run_dir.journal)), lock_fd) as parent:
        yield parent


def refuse_running(run_dir: RunDir) -> None:
    """Raises ConfigError for a sweep whose process lives."""
    host = other_machine(run_dir)
    if host is not None:
        hint = f"`ssh {host} launch stop {run_dir.run_id}` ends it; then it can go on here"
        raise ConfigError(f"sweep `{run_dir.run_id}` is run by a process on `{host}`", hint=hint)
    holder = open_supervisor(run_dir)
    if holder is not None:
        os.close(holder)
        raise ConfigError(f"sweep `{run_dir.run_id}` still runs", hint=f"`launch attach {run_dir.run_id}` shows it")


def _lock_of_the_dead(run_dir: RunDir) -> int:
    """The lock of a sweep whose process has ended. What that process forked may hold it for a moment longer."""
    try:
        return open_locked(run_dir.supervisor_lock, wait=False)
    except LockBusy:
        refuse_running(run_dir)
    return open_locked(run_dir.supervisor_lock)


@contextmanager
def _opened(parent: SweepParent, lock_fd: int) -> Iterator[SweepParent]:
    try:
        yield parent
    except BaseException as error:
        parent.fail(error)
        raise
    finally:
        if parent.tracker is not None:
            close_run(parent.run_dir, is_told=parent.tracker.finish(parent.inbox))
        os.close(lock_fd)


def _when_there_is_room(write: Callable[[], object]) -> None:
    """On a full disk: who watches says so, and all that is left to do is to write the end of hours of work."""
    patient_until = time.monotonic() + _PATIENCE_S
    while True:
        try:
            write()
            return
        except (OSError, LaunchError) as error:
            cause = error.__cause__ if isinstance(error, LaunchError) else error
            if not (isinstance(cause, OSError) and of_the_disk(cause)) or time.monotonic() > patient_until:
                raise
        time.sleep(_LOOK_S)


def _words(error: BaseException) -> str:
    """What a person is told of it. Of a bug its name is all that says something; the traceback is in the process's log."""
    if isinstance(error, LaunchError | RuntimeFailure):
        return error.message
    return str(error) if isinstance(error, OSError) else repr(error)


def _created(run_dir: RunDir, spec: ExperimentSpec, name: str | None, note: str | None, command_line: tuple[str, ...]) -> Created:
    return Created(
        run_id=run_dir.run_id,
        experiment=spec.name,
        name=name,
        note=note,
        sweep_id=run_dir.run_id,
        command=command_line,
        pid=os.getpid(),
        pid_started=process_started(os.getpid()),
        tracking=spec.tracking is not None,
        host=socket.gethostname(),
        user=os.environ.get("USER") or str(os.getuid()),
    )


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
