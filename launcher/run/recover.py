"""Runs that lost their supervisor get another one, or an end. Called by every command that makes runs or looks at them,
and by trackers.

What the other supervisor does is `supervisor/takeover.py`. A run that had not been handed over yet is closed here, and the sender
tells MLflow so.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from launcher.journal.events import Created, Finished
from launcher.journal.run_journal import Journal, read_state
from launcher.journal.status import Reason
from launcher.run.sending import close_run, start_sender
from launcher.run.start.supervisor_start import spawn_supervisor
from launcher.tracking.record.run_record import is_init_alive
from runtime.errors import RuntimeFailure
from runtime.file_lock import LockBusy, is_locked, locked, open_locked
from runtime.kernel.lock_holder import is_dying, lock_holder
from runtime.rootfs.removal import remove_tree
from runtime.state_dir import RunDir, StateDir
from runtime.store.store import Store

_LAST_WORDS_WITHIN_S = 5.0
DEATH_WITHIN_S = 11.0
"""How long to wait for the lock of one that was killed. A child that holds its descriptors may outlive it by ten seconds
(`runtime.kernel.libc.sleeper`); other locks are free within milliseconds."""


def recover_all(state: StateDir) -> None:
    """`recover_runs`, with what became of them where that is soon known; and remove what builds and networks left whose processes
    were killed."""
    _wait_for_last_words(recover_runs(state, wait_for_the_dying=True))
    with suppress(RuntimeFailure):  # a store that is somebody else's to change
        Store(state.store).sweep()
    if (state.root / "shells").is_dir():
        _clear_shells(state.root / "shells")
    if any(name.startswith(("launch", "ln-")) for _, name in socket.if_nameindex()):
        from runtime.network.shared_networks import remove_leftovers

        with suppress(RuntimeFailure):  # those who look at runs need not be able to
            remove_leftovers()


def _clear_shells(directory: Path) -> None:
    """Give back what `launch shell experiment=NAME` of earlier versions left when it was killed: such a shell was not on the list
    of runs, and ended with its command."""
    from launcher.run.supervisor.acquisitions import undo_all

    for run_dir in (RunDir(entry) for entry in directory.iterdir()):
        with suppress(LockBusy, OSError), locked(run_dir.supervisor_lock, wait=False):
            undo_all(run_dir)
            remove_tree(run_dir.root)
    with suppress(OSError):  # one lives
        directory.rmdir()


def recover_runs(state: StateDir, *, wait_for_the_dying: bool = False) -> list[RunDir]:
    """Give every run of this user without a supervisor a new one, and what MLflow has not got a sender. Which runs. Cheap when
    there is none: two directory listings. See `_open_lock` for *wait_for_the_dying*."""
    patient_until = time.monotonic() + DEATH_WITHIN_S if wait_for_the_dying else 0.0
    recovered = [run_dir for run_dir in state.active.own_runs() if recover(run_dir, patient_until=patient_until)]
    start_sender(state)
    return recovered


def recover(run_dir: RunDir, *, start: Callable[[RunDir, int], object] = spawn_supervisor, patient_until: float = 0.0) -> bool:
    """Have *start* give *run_dir* a supervisor, and the lock with it; False when it has one or needs none. A run that a cluster
    has, is the cluster's (`launcher.cluster.placement.reconcile`)."""
    run = read_state(run_dir.journal)
    if run.created is None:
        _forget_half(run_dir, patient_until)
        return False
    if run.job is not None:
        return False
    try:
        lock_fd = _open_lock(run_dir, run.created, patient_until)
    except LockBusy:
        return False
    os.ftruncate(lock_fd, 0)  # it names the dead one
    journal = Journal(run_dir.journal)
    if not (run_dir.plan.exists() and journal.read().is_queued):
        _close(run_dir, journal)
    if journal.read().is_over:
        close_run(run_dir, is_told=_is_told(run_dir))  # before the lock is free: `resume` may wait for it
        os.close(lock_fd)
        return False
    start(run_dir, lock_fd)
    return True


def _open_lock(run_dir: RunDir, created: Created, patient_until: float) -> int:
    """The supervisor's lock, taken. Raises LockBusy when the run has one, or until *patient_until* (of the monotonic clock) has
    one that was killed and keeps its lock until it has ended: nobody else might look at the run again."""
    while True:
        try:
            return open_locked(run_dir.supervisor_lock, wait=False)
        except LockBusy:
            if time.monotonic() >= patient_until or not _is_holder_dying(run_dir, created):
                raise
        time.sleep(0.01)


def _is_holder_dying(run_dir: RunDir, created: Created) -> bool:
    """Until a supervisor announces itself the lock may be on the way to it from who began the run."""
    return is_dying(lock_holder(run_dir.supervisor_lock) or {"pid": created.pid, "started": created.pid_started})


def _forget_half(run_dir: RunDir, patient_until: float) -> None:
    """Remove a run that was never wholly there: its launch was killed before the journal's first entry. One that is being written
    is told from it by a lock, which takes milliseconds: after *patient_until* who looks next sees."""
    while True:
        try:
            with locked(run_dir.state.beginnings_lock, wait=False):
                if read_state(run_dir.journal).created is None:
                    if run_dir.root.exists():
                        remove_tree(run_dir.root)
                    run_dir.state.active.remove(run_dir)
            return
        except LockBusy:
            if time.monotonic() >= patient_until:
                return
        time.sleep(0.01)


def is_about_to_end(run_dir: RunDir) -> bool:
    """Whether all that the run's supervisor, of this machine, has left to do is to find out how it ended, and to have its record
    sent."""
    from launcher.run.start.supervisor_link import other_machine

    run = read_state(run_dir.journal)
    if run.last_job is not None or other_machine(run_dir) is not None:
        return False
    has_lost_its_container = run.has_started and not run.is_sweep and not is_init_alive(run)
    return (run.is_over or has_lost_its_container) and is_locked(run_dir.supervisor_lock)


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


def _is_told(run_dir: RunDir) -> bool:
    from launcher.tracking.sync import complete_files, has_to_be_sent  # MLflow's part: for runs that have lost everybody

    if has_to_be_sent(run_dir):
        return False
    complete_files(run_dir)
    return True


def _close(run_dir: RunDir, journal: Journal) -> None:
    """A sweep's parent whose process was killed, or a launch that was ended before it could hand over: nothing to adopt, and
    nothing that should start hours later because somebody typed `launch ps`."""
    if not journal.read().is_over:
        message = "its launch was ended before the run began" if run_dir.plan.exists() else None
        journal.append(Finished(str(Reason.LOST), 125, message=message))
