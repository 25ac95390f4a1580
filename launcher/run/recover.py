"""Runs that lost their supervisor get another one, or an end. Called by every command that makes runs or looks at them,
and by trackers.

What the other supervisor does is `supervisor/takeover.py`. A run that had not been handed over yet is closed here, and its
supervisor only tells MLflow so.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, Sequence
from contextlib import suppress

from launcher.journal.events import Finished
from launcher.journal.run_journal import Journal, read_state
from launcher.journal.status import Reason
from launcher.run import active
from launcher.run.start.supervisor_start import spawn_supervisor
from launcher.tracking.record.run_record import is_init_alive
from runtime.errors import RuntimeFailure
from runtime.file_lock import LockBusy, open_locked
from runtime.state_dir import RunDir, StateDir

_LAST_WORDS_WITHIN_S = 5.0


def recover_all(state: StateDir) -> None:
    """`recover_runs`, with what became of them where that is soon known; and remove what shells and networks left whose
    processes were killed."""
    _wait_for_last_words(recover_runs(state))
    if (state.root / "shells").is_dir():
        from launcher.run.bare_shell import clear_dead_shells

        clear_dead_shells(state)
    if any(name.startswith(("launch", "ln-")) for _, name in socket.if_nameindex()):
        from runtime.network.shared_networks import remove_leftovers

        with suppress(RuntimeFailure):  # those who look at runs need not be able to
            remove_leftovers()


def recover_runs(state: StateDir) -> list[RunDir]:
    """Give every run without a supervisor a new one. Which ones. Cheap when there is none: one directory listing."""
    return [run_dir for run_dir in active.active_runs(state) if recover(run_dir)]


def recover(run_dir: RunDir, *, start: Callable[[RunDir, int], object] = spawn_supervisor) -> bool:
    """Have *start* give *run_dir* a supervisor, and the lock with it; False when it has one or needs none. A run that a cluster
    has, is the cluster's (`launcher.cluster.placement.reconcile`)."""
    run = read_state(run_dir.journal)
    if run.created is None:
        active.forget_half(run_dir)
        return False
    if run.job is not None:
        return False
    try:
        lock_fd = open_locked(run_dir.supervisor_lock, wait=False)
    except LockBusy:
        return False
    os.ftruncate(lock_fd, 0)  # it names the dead one
    journal = Journal(run_dir.journal)
    if not (run_dir.plan.exists() and journal.read().is_queued):
        _close(run_dir, journal)
    if journal.read().is_over and _mlflow_knows(run_dir):
        active.unmark(run_dir)
        os.close(lock_fd)
        return False
    start(run_dir, lock_fd)
    return True


def _wait_for_last_words(taken_up: Sequence[RunDir]) -> None:
    """After a reboot, say, nothing is left of a run, but its new supervisor has still to find that out: whoever looks now shall
    not be told that it runs."""
    deadline = time.monotonic() + _LAST_WORDS_WITHIN_S
    for run_dir in taken_up:
        while not _is_over_or_alive(run_dir) and time.monotonic() < deadline:
            time.sleep(0.01)


def _is_over_or_alive(run_dir: RunDir) -> bool:
    run = read_state(run_dir.journal)
    return run.is_over or is_init_alive(run)


def _mlflow_knows(run_dir: RunDir) -> bool:
    from launcher.tracking.sync import is_synced  # MLflow's part: for runs that have lost everybody

    return is_synced(run_dir)


def _close(run_dir: RunDir, journal: Journal) -> None:
    """A sweep's parent whose process was killed, or a launch that was ended before it could hand over: nothing to adopt, and
    nothing that should start hours later because somebody typed `launch ps`. A supervisor is for MLflow only."""
    if not journal.read().is_over:
        message = "its launch was ended before the run began" if run_dir.plan.exists() else None
        journal.append(Finished(str(Reason.LOST), 125, message=message))
