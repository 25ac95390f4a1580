"""Runs that stay or go: pins, and the removal of a run's directory.

A pin is an empty file `pinned` in the run's directory: it keeps the run from `launch runs rm` and its image from `launch gc`. A
run that goes is renamed first, so that nobody sees half of one, whatever ends the removal.
"""

from __future__ import annotations

import os
from contextlib import suppress

from launcher.errors import LaunchError
from launcher.tracking.sync import lock_path
from runtime.file_lock import LockBusy, locked
from runtime.rootfs.removal import remove_tree
from runtime.state_dir import RunDir, StateDir

_GOING = ".removed-"


class StillInUse(LaunchError):
    """A process still tends to the run, or sends its record."""


def pin(run_dir: RunDir) -> None:
    """Let the run stay. Idempotent."""
    (run_dir.root / "pinned").touch(mode=0o600)


def unpin(run_dir: RunDir) -> bool:
    """Take the pin away; False when there was none."""
    try:
        (run_dir.root / "pinned").unlink()
    except FileNotFoundError:
        return False
    return True


def is_pinned(run_dir: RunDir) -> bool:
    return (run_dir.root / "pinned").exists()


def pinned_runs(state: StateDir) -> list[RunDir]:
    try:
        names = sorted(entry.name for entry in os.scandir(state.runs) if not entry.name.startswith("."))
    except FileNotFoundError:
        return []
    return [state.run(name) for name in names if is_pinned(state.run(name))]


def remove_run(state: StateDir, run_dir: RunDir) -> None:
    """Remove the directory of a run that has ended. Raises StillInUse."""
    try:
        with locked(run_dir.supervisor_lock, wait=False), locked(lock_path(run_dir), wait=False):
            gone = state.runs / f"{_GOING}{run_dir.run_id}"
            run_dir.root.rename(gone)
    except LockBusy as error:
        hint = "`launch wait` waits for its end, `launch sync` until its record is sent"
        raise StillInUse(f"run `{run_dir.run_id}` is still tended to, or its record is being sent", hint=hint) from error
    state.active.remove(run_dir)
    state.unsent.remove(run_dir)
    remove_tree(gone)


def finish_removals(state: StateDir) -> None:
    """Go on with removals that were interrupted."""
    for entry in os.scandir(state.runs):
        if entry.name.startswith(_GOING):
            with suppress(FileNotFoundError):  # another command is at it, too
                remove_tree(state.runs / entry.name)
