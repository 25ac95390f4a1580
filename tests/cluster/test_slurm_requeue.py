"""Jobs that are preempted or requeued go on as the same run."""

from __future__ import annotations

import shutil
import tempfile
import time
from pathlib import Path

import pytest
from counting_run import CountingRun, descendants, lives, one_history
from launch_command import Launch
from slurm_bed import slurm_bed
from waiting import eventually

pytestmark = pytest.mark.requires("root", "slurm", "overlayfs")


def test_a_job_that_an_operator_requeues_goes_on_as_the_same_run(counting, slurm):
    run = CountingRun(counting, slurm, "cluster.requeue=true")
    run.counts(1)
    first = run.processes()
    slurm.ask("scontrol", "requeue", run.job)
    eventually(lambda: run.lines("attempt"), "the last word of the first attempt")
    assert [("preempted", True)] == [(event["reason"], event["requeued"]) for event in run.lines("attempt")]
    assert None is run.record()["exit_code"]
    # Slurm itself waits for two minutes: what it does to end the first attempt would reach a second one that is there already.
    eventually(lambda: not any(map(lives, first)), "the end of the first attempt's processes")
    time.sleep(1)
    run.begin_again_now()
    run.counts(2)
    run.finish()
    one_history(run)
    assert ("completed", 2) == (run.record()["reason"], run.record()["attempt"])


@pytest.mark.requires("patience")
def test_a_requeued_job_that_would_not_end_is_killed_and_begins_again(counting, slurm):
    run = CountingRun(counting, slurm, "params.how=stubborn", "grace=60s", "cluster.requeue=true")
    run.counts(1)
    processes = (*run.processes(), *descendants(run.processes()[1]))
    slurm.ask("scontrol", "requeue", run.job)
    run.begin_again_now()
    run.counts(2)
    assert not any(map(lives, processes))
    run.finish()
    one_history(run)


@pytest.mark.requires("patience")
def test_a_job_that_is_stopped_while_it_is_requeued_does_not_begin_again(counting, slurm):
    """Between two attempts it is `COMPLETING`, and no signal reaches it."""
    run = CountingRun(counting, slurm, "params.how=stubborn", "grace=60s", "cluster.requeue=true")
    run.counts(1)
    job = run.job
    slurm.ask("scontrol", "requeue", job)
    assert "COMPLETING" == run.squeue("%T")
    counting("stop", run.id, check=None)
    eventually(lambda: run.record()["exit_code"] is not None, "the end of the run")
    assert ("stopped", []) == (run.record()["reason"], run.steps(2))
    assert job not in slurm.jobs()


@pytest.mark.requires("patience")
def test_a_time_limit_that_retry_on_names_requeues_the_job_as_often_as_retries_say(counting, slurm):
    run = CountingRun(counting, slurm, "cluster.requeue=true", "retries=1", "retry_on=[timeout]")
    run.counts(1)
    slurm.ask("scancel", "--batch", "--signal=USR2", run.job)
    eventually(lambda: run.lines("attempt"), "the last word of the first attempt")
    assert [("timeout", True)] == [(event["reason"], event["requeued"]) for event in run.lines("attempt")]
    run.begin_again_now()
    run.counts(2)
    slurm.ask("scancel", "--batch", "--signal=USR2", run.job)
    assert 124 == counting("wait", run.id, check=None).returncode
    one_history(run)


@pytest.fixture
def contested(request, counting):
    """A cluster whose partition `urgent` takes the place of jobs in `spare`, with how and with what grace as parameters."""
    how, grace_s, more = request.param
    partitions = (
        f"spare Nodes=ALL PriorityTier=1 GraceTime={grace_s}\nPartitionName=urgent Nodes=ALL PriorityTier=9 PreemptMode=OFF"
    )
    preemption = {"PreemptType": "preempt/partition_prio", "PreemptMode": how, "PartitionName": partitions, **more}
    root = Path(tempfile.mkdtemp(prefix="slurm-", dir="/tmp"))
    root.chmod(0o755)
    try:
        with slurm_bed(root, nodes=1, settings=preemption) as bed:
            yield bed, Launch(counting.home, counting.project, dict(bed.environ))
    finally:
        shutil.rmtree(root, ignore_errors=True)


def preempted(contested, *overrides):
    """A run in `spare` whose place another job has taken."""
    bed, launch = contested
    run = CountingRun(launch, bed, "cluster.partition=spare", "cluster.sbatch.exclusive=true", *overrides)
    run.counts(1)
    bed.ask("sbatch", "--partition=urgent", "--exclusive", "--output=/dev/null", "--wrap=sleep 1")
    return run


SIGNALLED = {"PreemptParameters": "send_user_signal"}


@pytest.mark.requires("patience")
@pytest.mark.parametrize(
    "contested",
    [
        pytest.param(("REQUEUE", 0, {}), id="at once"),
        pytest.param(("REQUEUE", 30, SIGNALLED), id="told in advance"),
    ],
    indirect=True,
)
def test_a_preempted_job_is_requeued_and_goes_on_from_its_checkpoint(contested):
    run = preempted(contested, "cluster.requeue=true")
    eventually(lambda: run.lines("attempt"), "the last word of the first attempt")
    assert [("preempted", True)] == [(event["reason"], event["requeued"]) for event in run.lines("attempt")]
    attempt, step = map(int, (run.directory / "checkpoints/saved").read_text().split())
    run.begin_again_now()
    run.counts(2)
    assert (1, step + 1) == (attempt, run.steps(2)[0])
    run.finish()
    one_history(run)


@pytest.mark.requires("patience")
@pytest.mark.parametrize(
    "contested",
    [
        pytest.param(("CANCEL", 0, {}), id="at once"),
        pytest.param(("CANCEL", 30, SIGNALLED), id="told in advance"),
        pytest.param(("REQUEUE", 0, {}), id="a job that may not be requeued"),
    ],
    indirect=True,
)
def test_a_preempted_job_that_is_not_requeued_ends_with_that_reason_and_can_be_resumed(contested):
    run = preempted(contested, "retries=3")
    assert 143 == run.launch("wait", run.id, check=None).returncode
    assert "preempted" == run.record()["reason"]
    run.launch("resume", run.id, "-d", "-q")
    run.counts(2)
    run.finish()
    one_history(run)
