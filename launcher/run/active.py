"""Which runs have not ended yet: one empty file a run in `LAUNCH_HOME/active`, so that nobody reads a thousand journals to know.

A hint that is allowed to be too long, never too short: made before the run shows anywhere, taken away after its last word.
A run that was killed while it was written down (`start/create_run.py`) is told from one that is being written by a lock.
"""

from __future__ import annotations

from pathlib import Path

from launcher.journal.run_journal import read_state
from runtime.file_lock import LockBusy, locked
from runtime.rootfs.removal import remove_tree
from runtime.state_dir import RunDir, StateDir


def _directory(state: StateDir) -> Path:
    return state.root / "active"


def beginnings_lock(state: StateDir) -> Path:
    """Held, shared, by whoever begins a run; alone by who removes half a run."""
    return state.locks / "beginnings.lock"


def mark(run_dir: RunDir) -> None:
    """The run is about to begin, or one that had ended to go on. Idempotent."""
    directory = _directory(run_dir.state)
    directory.mkdir(mode=0o700, exist_ok=True)
    (directory / run_dir.run_id).touch(mode=0o600)


def forget_half(run_dir: RunDir) -> None:
    """Remove a run that was never wholly there: its launch was killed before the journal's first entry."""
    state = run_dir.state
    try:
        with locked(beginnings_lock(state), wait=False):
            if read_state(run_dir.journal).created is not None:
                return
            if run_dir.root.exists():
                remove_tree(run_dir.root)
            unmark(run_dir)
    except LockBusy:
        return  # somebody begins a run, perhaps this one: who looks next sees


def unmark(run_dir: RunDir) -> None:
    (_directory(run_dir.state) / run_dir.run_id).unlink(missing_ok=True)


def active_runs(state: StateDir) -> list[RunDir]:
    try:
        names = sorted(entry.name for entry in _directory(state).iterdir())
    except (FileNotFoundError, NotADirectoryError):
        return []
    return [state.run(name) for name in names]
