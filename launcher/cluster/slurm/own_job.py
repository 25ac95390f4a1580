"""What Slurm tells a process of a job: sbatch(1), "OUTPUT ENVIRONMENT VARIABLES". Another engine says it otherwise."""

from __future__ import annotations

import os
import socket
from collections.abc import Collection, Mapping

from launcher.journal.fencing import token_of
from runtime.light_dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class OwnJob:
    job: str
    restarts: int
    """How often it has been begun before."""
    rank: int
    """Of this process among those of its step: which of the nodes it is."""

    @property
    def placement(self) -> str:
        return token_of(self.job, self.restarts)


def this_node() -> str:
    """The machine by its name in the cluster."""
    return os.environ.get("SLURMD_NODENAME") or socket.gethostname()


def own_job() -> OwnJob:
    """The job that this process is of. Raises KeyError outside of one."""
    restarts, rank = (int(os.environ.get(name, "0")) for name in ("SLURM_RESTART_COUNT", "SLURM_PROCID"))
    return OwnJob(os.environ["SLURM_JOB_ID"], restarts, rank)


def environ_outside_of_job(environ: Mapping[str, str], *, kept: Collection[str]) -> dict[str, str]:
    """*environ* for a command that submits another job: without what Slurm says of the one that we are in, which would be taken
    for wishes for the new one (its restarts, its nodes), or make it a step of ours. *kept* are a person's wishes."""
    return {name: value for name, value in environ.items() if not name.startswith("SLURM_") or name in kept}
