"""Time limits leave time to save; scancel leaves nothing."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import pytest
from counting_run import CountingRun, descendants, lives, one_history
from launch_command import Launch
from slurm_bed import slurm_bed
from waiting import eventually

pytestmark = pytest.mark.requires("root", "slurm", "overlayfs")


def test_the_time_limit_is_a_signal_that_leaves_time_to_save_and_a_reason(counting, slurm):
    run = CountingRun(counting, slurm)
    run.counts(1)
    slurm.ask("scancel", "--batch", "--signal=USR2", run.job)  # what Slurm sends for `--signal=B:USR2@grace`
    assert 124 == counting("wait", run.id, check=None).returncode
    assert "timeout" == run.record()["reason"]
    attempt, step = map(int, (run.directory / "checkpoints/saved").read_text().split())
    counting("resume", run.id, "-d", "-q")
    run.counts(2)
    assert (1, step + 1) == (attempt, run.steps(2)[0])
    run.finish()
    one_history(run)


@pytest.mark.requires("patience")
def test_slurms_own_time_limit_leaves_time_to_save_and_a_reason(counting, slurm):
    run = CountingRun(counting, slurm, "cluster.time=1m", "grace=5s")
    run.counts(1)
    assert 124 == counting("wait", run.id, check=None, timeout_s=200).returncode
    assert "timeout" == run.record()["reason"]
    assert (run.directory / "checkpoints/saved").exists()
    counting("resume", run.id, "-d", "-q")
    run.counts(2)
    run.finish()
    one_history(run)


@pytest.fixture(params=["linuxproc", "cgroup"])
def tracking_processes(request, counting):
    """A cluster that knows a job's processes by their parents, or by a cgroup."""
    root = Path(tempfile.mkdtemp(prefix="slurm-", dir="/tmp"))
    root.chmod(0o755)
    try:
        with slurm_bed(root, nodes=1, settings={"ProctrackType": f"proctrack/{request.param}"}) as bed:
            yield bed, Launch(counting.home, counting.project, dict(bed.environ))
    finally:
        shutil.rmtree(root, ignore_errors=True)


@pytest.mark.requires("patience")
@pytest.mark.parametrize("requeue", ["false", "true"])
def test_nothing_survives_scancel_however_it_hides(tracking_processes, requeue):
    """A child in a session of its own, whose parent ignores SIGTERM: proctrack/linuxproc alone would lose it."""
    slurm, counting = tracking_processes
    run = CountingRun(counting, slurm, "params.how=stubborn", "grace=60s", f"cluster.requeue={requeue}")
    run.counts(1)
    processes = (*run.processes(), *descendants(run.processes()[1]))
    assert [pid for pid in processes if "4321" in Path(f"/proc/{pid}/cmdline").read_text()]
    slurm.ask("scancel", run.job)
    eventually(lambda: not any(map(lives, processes)), "the end of all of it")
    assert 143 == counting("wait", run.id, check=None).returncode
    assert "stopped" == run.record()["reason"]
