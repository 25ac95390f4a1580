"""What an attempt has beside its first node: the other nodes, and a task of Slurm's for each rank that speaks MPI."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from launcher.cluster.nodes.peers import StepPeers, bring_up_peers
from launcher.cluster.nodes.rank_step import rank_step
from launcher.run.supervisor.run_experiment import Run


@contextmanager
def join(run: Run, number: int) -> Iterator[StepPeers | None]:
    """Both, where they are wanted, for the body, which is attempt *number* of *run*. Raises LaunchError."""
    spec = run.plan.spec
    with ExitStack() as owned:
        peers = owned.enter_context(bring_up_peers(run, number)) if spec.nodes > 1 else None
        if spec.cluster.mpi != "none":
            owned.enter_context(rank_step(run.run_dir, mpi=spec.cluster.mpi, nodes=spec.nodes, processes=run.plan.processes))
        yield peers
