"""Whether a job that Slurm begins still has its run."""

from __future__ import annotations

import pytest

from launcher.cluster.job import _is_ours
from launcher.journal.events import Created, Finished, Resumed, Submitted
from launcher.journal.run_journal import Journal
from runtime.file_lock import locked


@pytest.fixture
def run_dir(run_dir):
    journal = Journal(run_dir.journal)
    journal.append(Created(run_dir.run_id, "x", host="login"))
    journal.append(Submitted("slurm", "17"))
    return run_dir


def test_a_job_has_the_run_that_was_submitted_as_it(run_dir):
    assert _is_ours(run_dir, "17")


def test_a_job_that_was_never_written_down_has_no_run(run_dir):
    Journal(run_dir.journal).append(Finished("lost"))
    assert not _is_ours(run_dir, "17")


def test_a_job_whose_run_went_on_in_another_one_ends_while_that_one_runs(run_dir):
    """`launch resume`, and then an operator who requeues the first: its GPUs are somebody else's, not to be waited with."""
    journal = Journal(run_dir.journal)
    for event in (Finished("lost"), Resumed(), Submitted("slurm", "18")):
        journal.append(event)
    with locked(run_dir.supervisor_lock):
        assert not _is_ours(run_dir, "17")
