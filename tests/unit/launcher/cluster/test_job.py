"""Whether a job that Slurm begins still has its run."""

from __future__ import annotations

import pytest
from journal_lines import write_event

from launcher.cluster.job import _is_ours
from runtime.file_lock import locked


@pytest.fixture
def run_dir(run_dir):
    write_event(run_dir.journal, "created", run_id=run_dir.run_id, experiment="x", host="login")
    write_event(run_dir.journal, "submitted", engine="slurm", job="17")
    return run_dir


def test_a_job_has_the_run_that_was_submitted_as_it(run_dir):
    assert _is_ours(run_dir, "17")


def test_a_job_that_was_never_written_down_has_no_run(run_dir):
    write_event(run_dir.journal, "finished", reason="lost", exit_code=125)
    assert not _is_ours(run_dir, "17")


def test_a_job_whose_run_went_on_in_another_one_ends_while_that_one_runs(run_dir):
    """`launch resume`, and then an operator who requeues the first: its GPUs are somebody else's, not to be waited with."""
    write_event(run_dir.journal, "finished", reason="lost", exit_code=125)
    write_event(run_dir.journal, "resumed")
    write_event(run_dir.journal, "submitted", engine="slurm", job="18")
    with locked(run_dir.supervisor_lock):
        assert not _is_ours(run_dir, "17")
