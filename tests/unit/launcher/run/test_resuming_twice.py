"""Two commands that resume one run: one does, the other is told."""

from __future__ import annotations

import os

import pytest
from journal_lines import read_lines, write_event

from launcher.errors import ConfigError
from launcher.run.resume import take_up_again
from launcher.tracking.record.run_record import fold
from runtime.file_lock import is_locked, open_locked
from runtime.state_dir import RunDir


@pytest.fixture
def run_dir(run_dir: RunDir) -> RunDir:
    """A run that its cluster has lost: its node may live, and hold the lock."""
    write_event(run_dir.journal, "created", run_id=run_dir.run_id)
    write_event(run_dir.journal, "submitted", engine="slurm", job="7")
    write_event(run_dir.journal, "finished", reason="lost", exit_code=125)
    return run_dir


def test_of_two_that_resume_a_run_that_was_lost_with_its_node_one_is_refused(run_dir: RunDir) -> None:
    lost = open_locked(run_dir.supervisor_lock)
    record = fold(run_dir)
    assert record is not None
    _, held = take_up_again(record, command_line=("launch", "resume"))
    with pytest.raises(ConfigError, match="has not ended"):
        take_up_again(record, command_line=("launch", "resume"))  # it looked at the run before the other one took it
    assert is_locked(run_dir.supervisor_lock)
    assert os.path.samestat(os.fstat(held), run_dir.supervisor_lock.stat()), "whoever took it up has the lock"
    assert 1 == sum(event.name == "resumed" for event in read_lines(run_dir.journal))
    for descriptor in (lost, held):
        os.close(descriptor)


def test_one_that_is_complete_meanwhile_is_not_resumed(run_dir: RunDir) -> None:
    record = fold(run_dir)
    assert record is not None
    _, held = take_up_again(record, command_line=("launch", "resume"))
    write_event(run_dir.journal, "finished", reason="completed", exit_code=0)
    os.close(held)
    with pytest.raises(ConfigError, match="is complete"):
        take_up_again(record, command_line=("launch", "resume"))
