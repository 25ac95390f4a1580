"""The job of a worker: what one trial asks for, and the program that runs trials."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

from launcher.cluster.submission import script_for
from launcher.cluster.trials.exchange import WorkerDir
from launcher.config.spec import ExperimentSpec
from launcher.plan.launch_plan import LaunchPlan
from launcher.run.start.supervisor_start import supervisor_argv

SEVERAL_TRIALS_S = 3600.0
"""What a worker's job asks for where only one trial's time is known and is less."""


def worker_script(plan: LaunchPlan, worker: WorkerDir) -> str:
    """What the cluster is given for a worker that can run trials like that of *plan*."""
    argv = supervisor_argv(str(worker.root), program=Path(__file__).with_name("worker_main.py"))
    name = f"{plan.spec.name}-{worker.sweep.run_id}-worker{worker.root.name}"
    return script_for(_as_worker(plan), job_name=name, log=str(worker.log), argv=argv)


def shape_of(plan: LaunchPlan) -> str:
    """The same for trials that ask the cluster for the same: all that `script_for` goes by."""
    plan = _as_worker(plan)
    spec = plan.spec
    asked = (plan.cpus, plan.memory_bytes, plan.gpus, spec.cpus, spec.gpus, spec.nodes, spec.grace, spec.cluster)
    return hashlib.sha256(repr(asked).encode()).hexdigest()[:12]


def _as_worker(plan: LaunchPlan) -> LaunchPlan:
    """A worker that was preempted has a successor, which is another job: the sweep's process sees to that."""
    spec = plan.spec
    return replace(plan, spec=replace(spec, cluster=replace(spec.cluster, requeue=False, time=_time(spec))))


def _time(spec: ExperimentSpec) -> float | None:
    """`cluster.time` is `timeout` unless somebody has said otherwise: that of one trial."""
    time = spec.cluster.time
    return time if time is None or time != spec.timeout else max(time, SEVERAL_TRIALS_S)
