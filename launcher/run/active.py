"""Which runs have not ended yet: one empty file a run in `LAUNCH_HOME/active`, so that nobody reads a thousand journals to know.

A hint that is allowed to be too long, never too short: made before the run shows anywhere, taken away after its last word.
A run begins here, so that whoever is killed in the middle of it leaves half a run that can be told from one being written.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from launcher.journal.run_journal import read_state
from runtime.file_lock import LockBusy, locked, open_locked
from runtime.rootfs.removal import remove_tree
from runtime.state_dir import RunDir, StateDir


def _directory(state: StateDir) -> Path:
    return state.root / "active"


def _beginnings(state: StateDir) -> Path:
    """Held, shared, by whoever begins a run; alone by who removes half a run."""
    return state.locks / "beginnings.lock"


@contextmanager
def beginning(state: StateDir) -> Iterator[tuple[RunDir, int]]:
    """A new run's directory and the descriptor that holds its supervisor's lock. The body ends with the journal's first entry."""
    with locked(_beginnings(state), shared=True):
        run_dir = new_run(state)
        yield run_dir, open_locked(run_dir.supervisor_lock)


def new_run(state: StateDir) -> RunDir:
    """The directory of a new run, marked before it is made, under an id of six hex digits that nobody has."""
    _directory(state).mkdir(mode=0o700, exist_ok=True)
    while True:
        run_dir = state.run(os.urandom(3).hex())
        if run_dir.root.exists():
            continue
        (_directory(state) / run_dir.run_id).touch(mode=0o600)
        try:
            run_dir.root.mkdir(mode=0o700)
        except FileExistsError:
            continue
        return run_dir


def mark_again(run_dir: RunDir) -> None:
    """A run that had ended goes on."""
    directory = _directory(run_dir.state)
    directory.mkdir(mode=0o700, exist_ok=True)
    (directory / run_dir.run_id).touch(mode=0o600)


def forget_half(run_dir: RunDir) -> None:
    """Remove a run that was never wholly there: its launch was killed before the journal's first entry."""
    state = run_dir.state
    try:
        with locked(_beginnings(state), wait=False):
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
