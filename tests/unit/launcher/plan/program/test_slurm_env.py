"""What a program learns of the job that it is in, and what it doesn't."""

from __future__ import annotations

from launcher.plan.program.slurm_env import OF_RANKS, slurm_env
from runtime.container.rank_tasks import rank_variables
from runtime.container.spec import World

JOB = {
    "SLURM_JOB_ID": "4242",
    "SLURM_JOB_NODELIST": "gpu[1-2]",
    "SLURM_JOB_NAME": "resnet-a1b2c3",
    "SLURM_JOBID": "4242",
    "SLURM_JWT": "s3cret",
    "SLURM_STEPID": "0",
    "SLURM_NTASKS": "1",
    "SLURM_PROCID": "0",
    "SLURM_NNODES": "1",
    "PATH": "/usr/bin",
}


def test_it_learns_its_job_and_no_credential_nor_step() -> None:
    expected = {"SLURM_JOB_ID": "4242", "SLURM_JOB_NODELIST": "gpu[1-2]", "SLURM_JOB_NAME": "resnet-a1b2c3"}
    ours = {"SLURM_NODEID": "1", "SLURM_NNODES": "2", "SLURM_JOB_NUM_NODES": "2", "SLURM_NODELIST": "gpu[1-2]"}
    assert expected | ours == slurm_env(JOB, node=1, nodes=2)


def test_outside_of_a_job_there_is_nothing() -> None:
    assert {} == slurm_env({"SLURM_CPUS_ON_NODE": "4", "PATH": "/usr/bin"}, node=0, nodes=1)


def test_numbers_of_tasks_are_those_of_the_ranks() -> None:
    """As Lightning's SLURMEnvironment asks for them: NTASKS is the world, and more than one wants NTASKS_PER_NODE."""
    of_torch = rank_variables(1, 2, World("10.0.0.1", 29500, 2, 4))
    names = ("SLURM_PROCID", "SLURM_LOCALID", "SLURM_NTASKS", "SLURM_NTASKS_PER_NODE")
    assert ["3", "1", "4", "2"] == [of_torch[dict(OF_RANKS)[name]] for name in names]
