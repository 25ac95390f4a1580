"""A run of which everything but its place is decided, put in a cluster's queue."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from launcher.cluster.engine import Engine
from launcher.cluster.slurm.sbatch_script import job_script
from launcher.cluster.slurm.slurm import Slurm
from launcher.errors import LaunchError
from launcher.journal.events import Finished, Submitted
from launcher.journal.run_journal import Journal
from launcher.journal.status import Reason
from launcher.plan.cluster_request import shards
from launcher.plan.launch_plan import LaunchPlan
from launcher.run.start.supervisor_start import supervisor_argv
from runtime.state_dir import RunDir


def engine_named(name: str) -> Engine:
    """The engine of `cluster.kind`, or of a `submitted` event."""
    if name != Slurm.name:
        raise LaunchError(f"no engine `{name}` is known: a newer launch has made this run")
    return Slurm()


def script_of(plan: LaunchPlan, run_dir: RunDir) -> str:
    """What the cluster is given for *run_dir*, which need not be there yet."""
    argv = supervisor_argv(str(run_dir.root), program=Path(__file__).with_name("job_main.py"))
    return script_for(plan, job_name=f"{plan.spec.name}-{run_dir.run_id}", log=str(run_dir.supervisor_log), argv=argv)


def script_for(plan: LaunchPlan, *, job_name: str, log: str, argv: Sequence[str]) -> str:
    """A job that asks for what *plan* asks for and becomes *argv*."""
    part = None if float(plan.gpus).is_integer() else shards(plan.spec, where=lambda _key: None)
    return job_script(plan, job_name=job_name, log=log, argv=argv, shards=part)


def refusal(plan: LaunchPlan) -> str | None:
    """What the cluster has against a job of *plan*, asked before an image is built for it: a partition or an account that isn't
    there, more than any node has. It is advice: what is refused while nodes are down may be taken when they are back."""
    engine = engine_named(plan.spec.cluster.kind)
    return engine.refusal(script_for(plan, job_name=plan.spec.name, log=os.devnull, argv=["true"]))


def submit(run_dir: RunDir, lock_fd: int, plan: LaunchPlan) -> str:
    """Hand the run to its cluster and let go of *lock_fd*, which the job waits for. Returns the job's id.

    A run that no cluster takes ends here, with the reason in its record.
    """
    journal = Journal(run_dir.journal)
    try:
        engine = engine_named(plan.spec.cluster.kind)
        job = engine.submit(script_of(plan, run_dir))
        journal.append(Submitted(engine.name, job))
    except LaunchError as error:
        journal.append(Finished(str(Reason.LAUNCHER), 125, message=error.message))
        if plan.spec.tracking is None:
            run_dir.state.active.remove(run_dir)
        raise
    finally:
        os.close(lock_fd)
    return job
