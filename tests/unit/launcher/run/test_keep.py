"""Runs that are pinned stay; a run that goes is never seen half gone."""

from __future__ import annotations

import os

import pytest

from launcher.run.pins_and_removal import StillInUse, finish_removals, is_pinned, pin, pinned_runs, remove_run, unpin
from launcher.run.start.create_run import new_run_dir
from runtime.file_lock import open_locked
from runtime.state_dir import RunDir, StateDir


def filled_run(state: StateDir) -> RunDir:
    run_dir = new_run_dir(state)
    run_dir.outputs.mkdir()
    (run_dir.outputs / "weights").write_text("w")
    return run_dir


def test_a_removed_run_leaves_nothing(state: StateDir) -> None:
    remove_run(state, filled_run(state))
    assert os.listdir(state.runs) == []


def test_a_run_that_is_tended_to_is_not_removed(state: StateDir) -> None:
    run_dir = filled_run(state)
    lock_fd = open_locked(run_dir.supervisor_lock)
    with pytest.raises(StillInUse, match="still tended to"):
        remove_run(state, run_dir)
    os.close(lock_fd)
    assert (run_dir.outputs / "weights").read_text() == "w"


def test_an_interrupted_removal_is_finished_by_the_next(state: StateDir) -> None:
    run_dir = filled_run(state)
    run_dir.root.rename(state.runs / f".removed-{run_dir.run_id}")
    finish_removals(state)
    assert os.listdir(state.runs) == []


def test_a_pin_is_found_until_it_is_taken_away(state: StateDir) -> None:
    run_dir = filled_run(state)
    filled_run(state)
    pin(run_dir)
    assert is_pinned(run_dir)
    assert pinned_runs(state) == [run_dir]
    assert (unpin(run_dir), unpin(run_dir)) == (True, False)
    assert pinned_runs(state) == []
