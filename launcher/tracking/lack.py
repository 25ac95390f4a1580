"""What MLflow lacks of a run, in words for people. Read from the run's directory; no server is asked."""

from __future__ import annotations

from collections.abc import Iterable

from launcher.journal.run_journal import read_state
from launcher.tracking import tracker_state
from launcher.tracking.tracker_state import TrackerState
from runtime.plurals import counted
from runtime.state_dir import RunDir, StateDir

_PIECE = 1 << 20


def lack_of(run_dir: RunDir) -> str | None:
    """`3 points and its end`; None where MLflow lacks nothing, or nothing that is not just on its way."""
    return _lack(run_dir, tracker_state.load(run_dir))


def _lack(run_dir: RunDir, state: TrackerState) -> str | None:
    run = read_state(run_dir.journal)
    if run.created is None or not run.created.tracking:
        return None
    status, end_ms = run.status
    if tracker_state.is_complete(state, status, end_ms) or not (run.is_over or state.failure):
        return None
    if not run_dir.mlflow.exists():
        return "all of it"
    points = _unsent_points(run_dir, state)
    has_end = run.is_over and (state.status, state.end_ms) == (status.value, end_ms)
    lacking = [counted(points, "point")] if points else []
    lacking += ["its end"] if run.is_over and not has_end else []
    lacking += ["files"] if has_end else []
    return " and ".join(lacking) or None


def lack_words(run_dir: RunDir) -> str | None:
    """`MLflow lacks 3 points and its end: cannot reach … (sent in the background; `launch sync` waits for it)`"""
    return _words(run_dir, tracker_state.load(run_dir))


def _words(run_dir: RunDir, state: TrackerState) -> str | None:
    lack = _lack(run_dir, state)
    if lack is None:
        return None
    why = f": {state.failure}" if state.failure else ""
    if state.is_given_up:
        return f"MLflow lacks {lack}{why} (nobody tries again before `launch sync {run_dir.run_id}`)"
    if state.needs_credentials:
        return f"MLflow lacks {lack}{why} (sent after the next command that has them)"
    return f"MLflow lacks {lack}{why} (sent in the background; `launch sync` waits for it)"


def lacking_runs(state: StateDir) -> dict[str, str]:
    """Run → what MLflow lacks of it, of all that have ended and wait to be sent."""
    found = ((run_dir.run_id, lack_of(run_dir)) for run_dir in state.unsent.own_runs())
    return {run_id: lack for run_id, lack in found if lack is not None}


def lack_of_sweep(run_dir: RunDir, trials: Iterable[str | None]) -> str | None:
    """`MLflow lacks 21 of its runs: cannot reach … (sent in the background; …)`, of a sweep and its *trials*."""
    waiting = lacking_runs(run_dir.state)
    lacking = [run_id for run_id in (run_dir.run_id, *trials) if run_id in waiting]
    if not lacking:
        return None
    why = tracker_state.load(run_dir.state.run(lacking[0])).failure
    return (
        f"MLflow lacks {len(lacking)} of its runs{f': {why}' if why else ''} (sent in the background; `launch sync` waits for it)"
    )


def warnings(run_dir: RunDir) -> list[str]:
    """What the end of a run should say about its record."""
    state = tracker_state.load(run_dir)
    lack = _words(run_dir, state)
    return [*state.notes, *state.refused, *([lack] if lack else [])]


def _unsent_points(run_dir: RunDir, state: TrackerState) -> int:
    """Metrics that the run has reported and MLflow has not got; a line each (`metric_log.py`)."""
    points, torn = 0, b""
    try:
        with run_dir.logged.open("rb") as logged:
            logged.seek(state.logged)
            while piece := logged.read(_PIECE):
                lines = (torn + piece).split(b"\n")
                torn = lines.pop()
                points += sum(line.startswith(b'{"key"') for line in lines)
    except FileNotFoundError:
        return 0
    return points
