"""Which runs have not ended yet: one empty file a run in `LAUNCH_HOME/active`, so that nobody reads a thousand journals to know.

A hint that is allowed to be too long, never too short: made before the run shows anywhere, taken away after its last word.
"""

from __future__ import annotations

from pathlib import Path

from runtime.state_dir import RunDir, StateDir


def _directory(state: StateDir) -> Path:
    return state.root / "active"


def mark(state: StateDir, run_id: str) -> None:
    directory = _directory(state)
    directory.mkdir(mode=0o700, exist_ok=True)
    (directory / run_id).touch(mode=0o600)


def unmark(run_dir: RunDir) -> None:
    (run_dir.root.parent.parent / "active" / run_dir.run_id).unlink(missing_ok=True)


def active_runs(state: StateDir) -> list[RunDir]:
    try:
        names = sorted(entry.name for entry in _directory(state).iterdir())
    except (FileNotFoundError, NotADirectoryError):
        return []
    return [state.run(name) for name in names]
