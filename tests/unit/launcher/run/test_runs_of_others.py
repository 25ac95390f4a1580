"""A state directory in which two users have runs: who had root launch something, or is looked at by root."""

from __future__ import annotations

import os

import pytest
from journal_lines import write_event

from launcher.cli.runs.sync import sync_runs
from launcher.run.recover import recover_all
from launcher.tracking.record.find_runs import active_records, count_hidden, list_runs
from runtime.state_dir import RunDir, StateDir

SOMEBODY = 12345


@pytest.fixture
def other(run_dir: RunDir) -> RunDir:
    """A run that its launch never handed over, and whose end MLflow has to be told."""
    write_event(run_dir.journal, "created", run_id=run_dir.run_id, tracking=False)
    for listed in (run_dir.state.active, run_dir.state.unsent):
        listed.add(run_dir)
    return run_dir


def test_root_who_looks_leaves_the_runs_of_others_to_them(other: RunDir) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can make a directory of somebody else's")
    os.chown(other.root, SOMEBODY, SOMEBODY)
    before = other.journal.read_bytes()
    recover_all(other.state)
    assert ([], [], before) == (other.state.active.own_runs(), other.state.unsent.own_runs(), other.journal.read_bytes())
    assert [other.run_id] == [record.run_id for record in list_runs(other.state)]


def test_root_does_not_send_the_runs_of_others(
    other: RunDir, state: StateDir, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can make a directory of somebody else's")
    os.chown(other.root, SOMEBODY, SOMEBODY)
    monkeypatch.setenv("LAUNCH_HOME", str(state.root))
    assert 0 == sync_runs([])
    assert 0 != sync_runs([other.run_id])
    assert f"{other.run_id} not sent: it belongs to another user (uid {SOMEBODY})" in capsys.readouterr().err
    assert [other.journal] == list(other.root.iterdir())


def test_who_may_not_look_into_a_run_is_told_of_the_others(other: RunDir, state: StateDir) -> None:
    if os.geteuid() == 0:
        pytest.skip("root may look everywhere")
    other.root.chmod(0)
    try:
        assert ([], [], 1) == (list_runs(state), active_records(state), count_hidden(state, []))
    finally:
        other.root.chmod(0o700)
