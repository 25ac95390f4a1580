"""A run that was stopped, preempted or lost its host goes on: same image, outputs, checkpoints, logs and MLflow run.

The journal's `resumed` begins its next life (`launcher.journal.run_state`); attempts are counted on. Going on with a sweep is
`launcher.sweep`.
"""

from __future__ import annotations

import os
from collections.abc import Sequence

from launcher.errors import ConfigError
from launcher.journal.events import Resumed
from launcher.journal.run_journal import Journal
from launcher.journal.status import Reason
from launcher.plan.launch_plan import LaunchPlan
from launcher.tracking.record.run_record import RunRecord, fold
from runtime.file_lock import LockBusy, locked, open_locked
from runtime.kernel.process_identity import process_started
from runtime.oci.digest import Digest
from runtime.state_dir import RunDir


def refuse_to_resume(record: RunRecord) -> None:
    """Raises ConfigError for a run that goes on already, has nothing left to do, or is its sweep's affair."""
    run_id = record.run_id
    if record.exit_code is None and record.alive:
        raise ConfigError(f"run `{run_id}` has not ended", hint=f"`launch attach {run_id}` watches it")
    if record.reason == Reason.COMPLETED:
        raise ConfigError(f"run `{run_id}` is complete", hint=f"`launch rerun {run_id}` runs it again")
    if record.sweep_id is not None:
        hint = f"`launch rerun {run_id}` runs the trial alone"
        parent = RunDir(record.run_dir.root.with_name(record.sweep_id))
        if parent.sweep.exists():  # no Hydra program's, which nobody can go on with
            hint = f"`launch resume {record.sweep_id}` goes on with the sweep, {hint}"
        raise ConfigError(f"run `{run_id}` is trial {record.trial} of sweep `{record.sweep_id}`", hint=hint)


def take_up_again(record: RunRecord, *, command_line: Sequence[str]) -> tuple[RunDir, int]:
    """Begin the run's next life. Returns its directory and the descriptor that holds the supervisor's lock.

    Raises ConfigError when another command has done so meanwhile.
    """
    run_dir = record.run_dir
    with locked(run_dir.resume_lock):
        now = fold(run_dir)
        if now is not None:
            refuse_to_resume(now)
        lock_fd = _locked(record)
        os.ftruncate(lock_fd, 0)  # it names the supervisor of the life before
        run_dir.state.active.add(run_dir)
        run_dir.state.unsent.remove(run_dir)  # its next end says anew what MLflow lacks
        pid = os.getpid()
        Journal(run_dir.journal).append(Resumed(tuple(command_line), pid, process_started(pid)))
        return run_dir, lock_fd


def _locked(record: RunRecord) -> int:
    lock = record.run_dir.supervisor_lock
    try:
        return open_locked(lock, wait=False)
    except LockBusy:
        if record.job is None or record.reason != Reason.LOST:
            hint = f"`launch attach {record.run_id}` watches what it does"
            raise ConfigError(f"run `{record.run_id}` has a supervisor", hint=hint) from None
    # On a node that its cluster has lost, and that may live. The journal's last word has fenced it: it may keep that lock.
    lock.rename(lock.with_name("supervisor.lock.lost"))
    return open_locked(lock)


def refuse_another_image(record: RunRecord, plan: LaunchPlan, built: Digest) -> None:
    """A run goes on in the image that it began in."""
    if str(built) == record.image_digest:
        return
    message = f"the image of `{plan.spec.name}` was made again from the record and is another one"
    raise ConfigError(
        f"{message}: {built} instead of {record.image_digest}", hint=f"`launch rerun {record.run_id}` runs it in that image"
    )
