"""Runs that lost their supervisor get another one, or an end. Called by every command that makes runs or looks at them,
and by trackers.

What the other supervisor does is `takeover.py`. A run that had not been handed over yet is closed here, and its supervisor only
tells MLflow so.
"""

from __future__ import annotations

import os
import socket
from contextlib import suppress

from launcher.run import active
from launcher.run.supervisor_start import spawn_supervisor
from launcher.tracking import journal
from launcher.tracking.status import Reason
from runtime.errors import RuntimeFailure
from runtime.file_lock import LockBusy, open_locked
from runtime.state_dir import RunDir, StateDir

TOOK_OVER = "the supervisor had died; another one took over"


def recover_all(state: StateDir) -> None:
    """`recover_runs`, and remove what shells and networks left whose processes were killed."""
    recover_runs(state)
    if (state.root / "shells").is_dir():
        from launcher.run.bare_shell import clear_dead_shells

        clear_dead_shells(state)
    if any(name.startswith(("launch", "ln-")) for _, name in socket.if_nameindex()):
        from runtime.network.bridge import remove_leftovers

        with suppress(RuntimeFailure):  # those who look at runs need not be able to
            remove_leftovers()


def recover_runs(state: StateDir) -> None:
    """Give every run without a supervisor a new one. Cheap when there is none: one directory listing."""
    for run_dir in active.active_runs(state):
        recover(run_dir)


def recover(run_dir: RunDir) -> None:
    """Start a supervisor for *run_dir* unless it has one or needs none."""
    if not journal.read(run_dir.journal):
        active.forget_half(run_dir)
        return
    try:
        lock_fd = open_locked(run_dir.supervisor_lock, wait=False)
    except LockBusy:
        return
    os.ftruncate(lock_fd, 0)  # it names the dead one
    if not (run_dir.plan.exists() and _has(run_dir, "queued")):
        _close(run_dir)
    if _has(run_dir, "finished") and _mlflow_knows(run_dir):
        active.unmark(run_dir)
        os.close(lock_fd)
        return
    spawn_supervisor(run_dir, lock_fd)


def _mlflow_knows(run_dir: RunDir) -> bool:
    from launcher.tracking.sync import is_synced  # MLflow's part: for runs that have lost everybody

    return is_synced(run_dir)


def _close(run_dir: RunDir) -> None:
    """A sweep's parent whose process was killed, or a launch that was ended before it could hand over: nothing to adopt, and
    nothing that should start hours later because somebody typed `launch ps`. A supervisor is for MLflow only."""
    if not _has(run_dir, "finished"):
        message = "its launch was ended before the run began" if run_dir.plan.exists() else None
        journal.append(run_dir.journal, "finished", reason=str(Reason.LOST), exit_code=125, signal=None, message=message)


def _has(run_dir: RunDir, name: str) -> bool:
    return any(event.name == name for event in journal.read(run_dir.journal))
