"""Lines that squeue and sacct of Slurm 24.11 printed, and what they say."""

from __future__ import annotations

import pytest

from launcher.cluster.engine import JobEnd, JobPhase, JobStatus
from launcher.cluster.slurm_words import sacct_jobs, squeue_jobs
from launcher.errors import LaunchError

SQUEUE = """\
1|COMPLETED|None|node1|0|0:0|
2|FAILED|BadConstraints||0|0:1|
4|FAILED|RaisedSignal:9(Killed)|node1|0|0:9|
5|FAILED|NonZeroExitCode|node2|0|3:0|
3|PENDING|JobHeldUser||0|0:0|
15|RUNNING|None|node[1-2]|1|0:0|
16|COMPLETING|None|node1|0|0:0|
"""


def test_a_job_that_waits_says_what_for():
    assert JobStatus("3", JobPhase.PENDING, why="JobHeldUser") == squeue_jobs(SQUEUE)["3"]


def test_a_job_that_runs_says_where_and_how_often_it_was_begun():
    assert JobStatus("15", JobPhase.RUNNING, nodes="node[1-2]", attempt=2) == squeue_jobs(SQUEUE)["15"]


@pytest.mark.parametrize(
    ("job", "end", "exit_code", "signal"),
    [
        pytest.param("1", JobEnd.COMPLETED, 0, None, id="well"),
        pytest.param("5", JobEnd.FAILED, 3, None, id="with an exit code"),
        pytest.param("4", JobEnd.FAILED, 0, 9, id="by a signal"),
    ],
)
def test_a_job_that_is_over_says_how(job, end, exit_code, signal):
    status = squeue_jobs(SQUEUE)[job]
    assert (True, end, exit_code, signal) == (status.is_over, status.end, status.exit_code, status.signal)


def test_a_job_that_is_being_cleaned_up_is_not_over():
    assert not squeue_jobs(SQUEUE)["16"].is_over


def test_sacct_tells_of_jobs_that_squeue_has_forgotten():
    printed = "7|CANCELLED by 1000|None|node1|0|0:15\n8|TIMEOUT|None|node2|1|0:0\n9|OUT_OF_MEMORY|None|node2|0|0:125\n"
    ends = {job: status.end for job, status in sacct_jobs(printed).items()}
    assert {"7": JobEnd.CANCELLED, "8": JobEnd.TIMEOUT, "9": JobEnd.OUT_OF_MEMORY} == ends
    assert 2 == sacct_jobs(printed)["8"].attempt


@pytest.mark.parametrize(
    "line",
    [
        pytest.param("1|RUNNING|None", id="too few fields"),
        pytest.param("1|DREAMING|None|node1|0|0:0|", id="a state of another Slurm"),
        pytest.param("JOBID|STATE|REASON|NODELIST|RESTARTS|EXIT|", id="a heading"),
    ],
)
def test_what_is_not_understood_is_said_and_never_guessed(line):
    with pytest.raises(LaunchError, match="not understood"):
        squeue_jobs(line)
