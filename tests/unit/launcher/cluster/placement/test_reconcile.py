"""A run in a cluster's hands: nobody else's, until its job is over."""

from __future__ import annotations

import json

import pytest

from launcher.cluster.engine import JobEnd, JobPhase, JobStatus
from launcher.cluster.placement.reconcile import reconcile, submitted_runs
from launcher.journal.events import Created, Finished, Placed, Submitted
from launcher.journal.placement import Job
from launcher.journal.run_journal import Journal
from launcher.run.recover import recover
from launcher.tracking.record.run_record import fold
from runtime.file_lock import locked


class OneJob:
    """An engine that knows one job."""

    name = "slurm"

    def __init__(self, status):
        self.status = status

    def poll(self, jobs):
        return dict.fromkeys(jobs, self.status)


@pytest.fixture
def run_dir(run_dir):
    journal = Journal(run_dir.journal)
    journal.append(Created(run_dir.run_id, "x", host="login", pid=2**22 + 1))
    journal.append(Submitted("slurm", "17"))
    return run_dir


def reconciled(run_dir, status):
    return reconcile({run_dir.run_id: (run_dir, Job("slurm", "17"))}, engine_named=lambda _name: OneJob(status))


def ended(end, **fields):
    return JobStatus("17", JobPhase.ENDED, end=end, **fields)


def test_a_pending_run_lives_though_no_process_of_this_machine_tends_to_it(run_dir, state):
    record = fold(run_dir)
    assert (True, "17", None) == (record.alive, record.job, record.reason)
    assert not recover(run_dir)
    assert "submitted" == fold(run_dir).phase
    assert {run_dir.run_id} == set(submitted_runs(state))


def test_a_job_that_goes_on_changes_nothing(run_dir):
    status = JobStatus("17", JobPhase.PENDING, why="Priority")
    assert {run_dir.run_id: status} == reconciled(run_dir, status)
    assert fold(run_dir).exit_code is None


@pytest.mark.parametrize(
    ("end", "reason", "exit_code", "message"),
    [
        pytest.param(JobEnd.CANCELLED, "stopped", 143, "slurm job 17 was cancelled before the run began", id="cancelled"),
        pytest.param(JobEnd.TIMEOUT, "timeout", 124, "slurm job 17 ran into its time limit before the run began", id="limit"),
        pytest.param(JobEnd.NODE_FAILED, "lost", 125, "slurm job 17 lost its node node1 before the run began", id="node"),
        pytest.param(JobEnd.UNKNOWN, "lost", 125, "slurm job 17 is over, and it is not known how it ended", id="forgotten"),
    ],
)
def test_a_job_that_left_without_a_word_is_closed_with_what_the_engine_says(run_dir, end, reason, exit_code, message):
    assert {} == reconciled(run_dir, ended(end, nodes="node1"))
    record = fold(run_dir)
    assert (reason, exit_code) == (record.reason, record.exit_code)
    assert record.message.startswith(message)


def test_the_record_of_a_run_that_had_no_tracker_is_completed(run_dir):
    plan = {
        "spec": {"command": ["true"], "params": {"lr": 0.1}},
        "code": {"digest": "sha256:" + 64 * "0", "files": []},
        "build": {"steps": []},
    }
    run_dir.plan.write_text(json.dumps({"plan": plan}))
    reconciled(run_dir, ended(JobEnd.NODE_FAILED, nodes="node1"))
    assert "lr: 0.1" in (run_dir.root / "spec.yaml").read_text()


def test_a_job_whose_program_was_not_there_says_its_exit_code(run_dir):
    reconciled(run_dir, ended(JobEnd.FAILED, exit_code=127, why="NonZeroExitCode"))
    assert "slurm job 17 ended with exit code 127 before the run began (NonZeroExitCode)" == fold(run_dir).message


@pytest.mark.parametrize(("end", "words"), [(JobEnd.FAILED, ": cp: cannot stat '/nope'"), (JobEnd.CANCELLED, "")])
def test_a_job_that_failed_before_the_run_says_its_last_line(run_dir, end, words):
    run_dir.supervisor_log.write_text("staged\ncp: cannot stat '/nope'\n")
    reconciled(run_dir, ended(end, exit_code=1))
    assert fold(run_dir).message.endswith(f" before the run began{words}")


def test_what_the_supervisor_wrote_goes_before_what_the_engine_says(run_dir):
    Journal(run_dir.journal).append(Finished("completed", 0))
    reconciled(run_dir, ended(JobEnd.FAILED, exit_code=1))
    assert "completed" == fold(run_dir).reason


def test_a_supervisor_that_still_holds_its_lock_is_left_its_last_words(run_dir):
    with locked(run_dir.supervisor_lock):
        reconciled(run_dir, ended(JobEnd.CANCELLED))
    assert fold(run_dir).exit_code is None


def test_a_run_is_on_the_machine_where_its_job_began(run_dir):
    Journal(run_dir.journal).append(Placed(job="17", host="node1", attempt=1))
    assert "node1" == fold(run_dir).host
