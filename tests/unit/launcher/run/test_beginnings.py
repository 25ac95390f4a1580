"""A run that is being begun, and half a run that nobody will finish, are told apart."""

from __future__ import annotations

import os

import pytest
from journal_lines import write_event

from launcher.run.recover import recover
from launcher.run.start.create_run import begin_run, new_run_dir
from runtime.state_dir import StateDir


def test_a_run_is_marked_from_before_its_directory_is_there(state: StateDir) -> None:
    with begin_run(state) as (run_dir, lock):
        assert [run_dir] == state.active.runs()
        write_event(run_dir.journal, "created")
    os.close(lock)
    assert [run_dir] == state.active.runs()


def test_nobody_takes_a_run_away_while_it_is_begun(state: StateDir) -> None:
    with begin_run(state) as (run_dir, lock):
        (run_dir.root / "plan.json").touch()
        os.close(lock)  # as between the making of the directory and the lock
        recover(run_dir)
        assert (run_dir.root / "plan.json").exists()
    assert [run_dir] == state.active.runs()


@pytest.mark.parametrize("content", ["mark", "directory", "files"])
def test_half_a_run_is_removed(state: StateDir, content: str) -> None:
    run_dir = new_run_dir(state)
    if content == "mark":
        run_dir.root.rmdir()
    if content == "files":
        run_dir.outputs.mkdir()
        run_dir.plan.write_text("{")
    recover(run_dir)
    assert not run_dir.root.exists()
    assert [] == state.active.runs()
