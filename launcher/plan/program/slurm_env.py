"""What a program learns of its Slurm job: enough for Lightning, submitit and scripts of a lab to find that they are in one.

A list of what is let in, never all of `SLURM_*`: SLURM_JWT is a credential, and much else describes a step that the program is
not. The old names SLURM_JOBID and SLURM_STEPID stay out on purpose: by them OpenMPI's and MPICH's mpirun decide to start their
processes through srun, which no container has. Ranks that are tasks to their MPI get them (`cluster/nodes/rank_task.py`).

Numbers of tasks are those of launch's ranks (`OF_RANKS`), since Slurm's own are of one task a node: the
supervisor's. Where launch starts no ranks there are none, and Lightning starts its processes itself.
"""

from __future__ import annotations

from collections.abc import Mapping

LET_IN = (
    "SLURMD_NODENAME",
    "SLURM_CLUSTER_NAME",
    "SLURM_CPUS_ON_NODE",
    "SLURM_CPUS_PER_TASK",
    "SLURM_GPUS_ON_NODE",
    "SLURM_JOB_ACCOUNT",
    "SLURM_JOB_END_TIME",
    "SLURM_JOB_ID",
    "SLURM_JOB_NAME",
    "SLURM_JOB_NODELIST",
    "SLURM_JOB_PARTITION",
    "SLURM_JOB_QOS",
    "SLURM_JOB_START_TIME",
    "SLURM_JOB_USER",
    "SLURM_MEM_PER_NODE",
    "SLURM_RESTART_COUNT",
    "SLURM_SUBMIT_HOST",
)

OF_RANKS = (
    ("SLURM_PROCID", "RANK"),
    ("SLURM_LOCALID", "LOCAL_RANK"),
    ("SLURM_NTASKS", "WORLD_SIZE"),
    ("SLURM_NPROCS", "WORLD_SIZE"),
    ("SLURM_NTASKS_PER_NODE", "LOCAL_WORLD_SIZE"),
)
"""Slurm's name for a number of a rank → torch's (srun(1), "OUTPUT ENVIRONMENT VARIABLES")."""


def slurm_env(environ: Mapping[str, str], *, node: int, nodes: int) -> dict[str, str]:
    """The variables of the job that *environ* is of, on its node number *node* of *nodes*; none outside of a job."""
    found = {name: environ[name] for name in LET_IN if name in environ}
    if "SLURM_JOB_ID" not in found:
        return {}
    # A further node's supervisor is in a step of all nodes but the first: what srun says of that is not the job's.
    found |= {"SLURM_NODEID": str(node), "SLURM_NNODES": str(nodes), "SLURM_JOB_NUM_NODES": str(nodes)}
    return found | ({"SLURM_NODELIST": found["SLURM_JOB_NODELIST"]} if "SLURM_JOB_NODELIST" in found else {})
