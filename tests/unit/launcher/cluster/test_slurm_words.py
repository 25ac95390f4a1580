"""Lines that squeue and sacct of Slurm 24.11 printed on a bed like that of tests/cluster, and what they say.

Where other releases print something else, as their man pages have it, that is said.
"""

from __future__ import annotations

import pytest

from launcher.cluster.engine import JobEnd, JobPhase, JobStatus
from launcher.cluster.slurm.job_states import advice_on, sacct_jobs, squeue_jobs
from launcher.errors import LaunchError

SQUEUE = """\
1|COMPLETED|None|node1|0|0:0|N/A|
2|FAILED|BadConstraints||0|0:1|N/A|
3|PENDING|JobHeldUser||0|0:0|N/A|
4|FAILED|RaisedSignal:9(Killed)|node1|0|0:9|N/A|
5|FAILED|NonZeroExitCode|node2|0|3:0|N/A|
6|PENDING|BeginTime||1|0:0|N/A|
7|NODE_FAIL|NodeDown|node3|0|0:1|N/A|
8|PENDING|Dependency||0|0:0|N/A|
15|RUNNING|None|node[1-2]|1|0:0|N/A|
16|COMPLETING|None|node1|0|0:0|N/A|
"""

SACCT = """\
1|COMPLETED|node1|0:0
2|FAILED|node1|3:0
3|FAILED|node1|0:9
4|TIMEOUT|node1|0:0
5|CANCELLED by 0|None assigned|0:0
7|PENDING|None assigned|0:0
9|RUNNING|node[1-2,5]|0:0
13|CANCELLED by 1000|node1|0:0
"""


def test_a_job_that_waits_says_what_for():
    waiting = {job: status.why for job, status in squeue_jobs(SQUEUE).items() if status.phase is JobPhase.PENDING}
    assert {"3": "JobHeldUser", "6": "BeginTime", "8": "Dependency"} == waiting


def test_a_job_that_runs_says_where_and_how_often_it_was_begun():
    assert JobStatus("15", JobPhase.RUNNING, nodes="node[1-2]", attempt=2) == squeue_jobs(SQUEUE)["15"]
    assert "node[1-2,5]" == sacct_jobs(SACCT)["9"].nodes


@pytest.mark.parametrize(
    ("job", "end", "exit_code", "signal"),
    [
        pytest.param("1", JobEnd.COMPLETED, 0, None, id="well"),
        pytest.param("2", JobEnd.FAILED, 0, 1, id="without having begun"),
        pytest.param("5", JobEnd.FAILED, 3, None, id="with an exit code"),
        pytest.param("4", JobEnd.FAILED, 0, 9, id="by a signal"),
        pytest.param("7", JobEnd.NODE_FAILED, 0, 1, id="with its node"),
    ],
)
def test_a_job_that_is_over_says_how(job, end, exit_code, signal):
    status = squeue_jobs(SQUEUE)[job]
    assert (True, end, exit_code, signal) == (status.is_over, status.end, status.exit_code, status.signal)


def test_a_job_that_is_being_cleaned_up_is_not_over():
    assert not squeue_jobs(SQUEUE)["16"].is_over


def test_sacct_tells_how_jobs_ended_and_who_cancelled_them_does_not_matter():
    ends = {job: status.end for job, status in sacct_jobs(SACCT).items() if status.is_over}
    assert {"5": JobEnd.CANCELLED, "13": JobEnd.CANCELLED} == {job: ends[job] for job in ("5", "13")}
    assert [JobEnd.COMPLETED, JobEnd.FAILED, JobEnd.FAILED, JobEnd.TIMEOUT] == [ends[job] for job in "1234"]
    assert sacct_jobs(SACCT)["5"].nodes is None


def test_the_tasks_of_an_array_and_the_parts_of_a_heterogeneous_job_are_jobs_with_numbers_of_their_own():
    """`6_1`, `6_2`, `6_3` and `7+0`, `7+1` by other fields (JobArrayID, sacct's JobID)."""
    printed = (
        "11|FAILED|node1|1:0\n12|FAILED|node1|2:0\n6|FAILED|node1|3:0\n7|PENDING|None assigned|0:0\n8|PENDING|None assigned|0:0\n"
    )
    assert {"11": 1, "12": 2, "6": 3, "7": None, "8": None} == {job: one.exit_code for job, one in sacct_jobs(printed).items()}


@pytest.mark.parametrize(
    ("state", "end"),
    [
        pytest.param("CANCELLED+", JobEnd.CANCELLED, id="cut by a width, as sacct does without --parsable2"),
        pytest.param("OUT_OF_MEMORY", JobEnd.OUT_OF_MEMORY, id="since 17.11"),
        pytest.param("DEADLINE", JobEnd.TIMEOUT, id="past its --deadline"),
        pytest.param("BOOT_FAIL", JobEnd.NODE_FAILED, id="its node did not boot"),
        pytest.param("LAUNCH_FAILED", JobEnd.FAILED, id="since 24.05, with the next two"),
        pytest.param("RECONFIG_FAIL", JobEnd.FAILED, id="node reconfiguration"),
        pytest.param("PREEMPTED", JobEnd.PREEMPTED, id="preempted"),
    ],
)
def test_a_state_of_any_release_that_ends_a_job_is_known(state, end):
    assert end is sacct_jobs(f"17|{state}|node1|0:0")["17"].end


def test_a_state_that_nobody_knows_ends_no_run():
    assert JobPhase.RUNNING is squeue_jobs("17|EXPEDITING|None|node1|0|0:0|N/A|")["17"].phase


def test_a_job_whose_place_will_be_taken_says_so_before_it_ends():
    assert squeue_jobs("17|RUNNING|None|node1|0|0:0|2026-11-25T04:20:49|")["17"].preempted
    assert not squeue_jobs(SQUEUE)["15"].preempted


@pytest.mark.parametrize(
    "line",
    [
        pytest.param("1|RUNNING|None", id="too few fields"),
        pytest.param("1|", id="a line that was cut"),
        pytest.param("17_3|RUNNING|None|node1|0|0:0|N/A|", id="a task of an array, which no run of ours is"),
        pytest.param("slurm_load_jobs: Socket timed out on send/recv operation", id="an error on stdout"),
        pytest.param("JOBID|STATE|REASON|NODELIST|RESTARTS|EXIT|PREEMPT_TIME|", id="a heading"),
    ],
)
def test_what_is_not_understood_is_said_and_never_guessed(line):
    with pytest.raises(LaunchError, match="not understood"):
        squeue_jobs(SQUEUE + line)


@pytest.mark.parametrize(
    ("reason", "words"),
    [
        ("PartitionTimeLimit", "cannot begin as it is asked for"),
        ("QOSMaxNodePerJobLimit", "cannot begin as it is asked for"),
        ("JobHeldUser", "scontrol release"),
        ("Priority", None),
        ("Resources", None),
    ],
)
def test_a_job_that_waiting_does_not_help_says_so(reason, words):
    advice = advice_on(reason)
    assert advice is None if words is None else words in str(advice)
