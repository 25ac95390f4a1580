"""Jobs that left no word and that the controller has forgotten: how they ended is known by accounts, and by nothing else."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from launch_command import Launch
from slurm_bed import SlurmBed, slurm_bed

pytestmark = pytest.mark.requires("root", "slurm", "overlayfs")


@pytest.fixture
def keeping_accounts() -> Iterator[SlurmBed]:
    root = Path(tempfile.mkdtemp(prefix="slurm-", dir="/tmp"))
    root.chmod(0o755)
    try:
        with slurm_bed(root, nodes=1, accounting=True) as bed:
            yield bed
    finally:
        shutil.rmtree(root, ignore_errors=True)


def ended_unseen(launch: Launch, bed: SlurmBed) -> dict[str, object]:
    """A run whose job was cancelled in line while nobody looked, and then forgotten."""
    run_id = launch("experiment=probe", "cluster=slurm", "-d", "-q", "cluster.sbatch.hold=true").stdout.strip()
    bed.ask("scancel", launch.record(run_id)["job"])
    bed.forget()
    return launch.record(run_id)


def test_without_accounts_a_forgotten_job_is_lost(launch, slurm):
    record = ended_unseen(launch, slurm)
    assert ("lost", 125) == (record["reason"], record["exit_code"])
    assert f"slurm job {record['job']} is over, and it is not known how it ended" in str(record["message"])


@pytest.mark.requires("slurmdbd")
def test_with_accounts_a_forgotten_job_is_what_sacct_says(keeping_accounts, cluster_home, cluster_project):
    record = ended_unseen(Launch(cluster_home, cluster_project, dict(keeping_accounts.environ)), keeping_accounts)
    expected = f"slurm job {record['job']} was cancelled before the run began"
    assert ("stopped", expected) == (record["reason"], record["message"])
