"""An image that is to be built by a job: the job's script, and the directory through which both sides speak.

`LAUNCH_HOME/cache/builds/ID/` has the plan, the events and the job's log; the command that asked for the build removes it, unless
the log holds something.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from launcher.cluster.build_job import EVENTS, LOG, PLAN
from launcher.cluster.engine import Engine
from launcher.cluster.submission import engine_named, script_for
from launcher.plan.cluster_request import gres_without_gpus
from launcher.plan.launch_plan import LaunchPlan
from launcher.plan.plan_json import to_document
from runtime.build.plan import RunCommand
from runtime.light_dataclasses import dataclass, replace
from runtime.rootfs.removal import remove_tree
from runtime.state_dir import StateDir

_KEPT_S = 7 * 86_400.0

_ABOUT_GPUS = {"gpus", "gpus-per-node", "gpus-per-socket", "gpus-per-task", "gpu-bind", "gpu-freq", "tres-per-task"}
_ABOUT_RUNS = {"exclusive", "cpus-per-gpu", "mem-per-gpu", "switches", "contiguous", "distribution"}
_OF_ITS_PARTITION = {"constraint", "prefer", "nodelist", "nodefile", "exclude", "reservation", "mem", "mem-per-cpu"}
"""What a person asks of nodes of the run's partition, and those of another one need not have."""


@dataclass(frozen=True, slots=True)
class SubmittedBuild:
    engine: Engine
    job: str
    directory: Path

    @property
    def events(self) -> Path:
        return self.directory / EVENTS

    @property
    def log(self) -> Path:
        return self.directory / LOG


def build_script(plan: LaunchPlan, directory: Path, home: Path) -> str:
    """The job asks for the run's place, cores and memory, on one node, and for a GPU only where a command of the image wants
    one; in a partition of its own for the cores alone."""
    argv = [sys.executable, "-I", str(Path(__file__).with_name("build_job_main.py")), str(directory), str(home)]
    return script_for(_for_building(plan), job_name=f"build-{plan.spec.name}", log=str(directory / LOG), argv=argv)


def _for_building(plan: LaunchPlan) -> LaunchPlan:
    cluster, memory = plan.spec.cluster, plan.memory_bytes
    left_out = _ABOUT_GPUS | _ABOUT_RUNS
    if cluster.build_partition is not None:
        left_out, memory = left_out | _OF_ITS_PARTITION, None
    sbatch = {name: value for name, value in cluster.sbatch.items() if name not in left_out}
    if "gres" in sbatch:
        sbatch["gres"] = gres_without_gpus(sbatch["gres"])
    partition = cluster.build_partition or cluster.partition
    cluster = replace(cluster, partition=partition, sbatch=sbatch, requeue=False)
    gpus = int(any(isinstance(step, RunCommand) and step.gpu for step in plan.build.all_steps))
    return replace(plan, spec=replace(plan.spec, gpus=gpus, nodes=1, cluster=cluster), gpus=gpus, memory_bytes=memory)


@contextmanager
def submit_build(plan: LaunchPlan, state: StateDir) -> Iterator[SubmittedBuild]:
    """Submit a job that builds the image of *plan*. Where the body fails, by Ctrl-C too, the job is cancelled."""
    _remove_old_builds(state.cache / "builds")
    directory = state.cache / "builds" / os.urandom(6).hex()
    directory.mkdir(mode=0o700, parents=True)
    (directory / PLAN).write_text(json.dumps(to_document(plan)), encoding="utf-8")
    (directory / EVENTS).touch(mode=0o600)  # now: an NFS client remembers for a while that a file was not there
    engine = engine_named(plan.spec.cluster.kind)
    build = SubmittedBuild(engine, engine.submit(build_script(plan, directory, state.root)), directory)
    try:
        yield build
    except BaseException:
        engine.cancel(build.job)
        raise
    finally:
        if not build.log.exists() or build.log.stat().st_size == 0:
            _remove(directory)


def _remove_old_builds(builds: Path) -> None:
    """Logs that a person has had a week to read, and what killed commands left. By nothing but their age: another command may be
    about to fill a directory that is empty, or be removing it as we do."""
    for directory in builds.iterdir() if builds.exists() else ():
        with suppress(FileNotFoundError):
            if time.time() - directory.stat().st_mtime > _KEPT_S:
                _remove(directory)


def _remove(directory: Path) -> None:
    # A file that the job still has open stays on NFS under another name until it is closed: the next build removes that.
    with suppress(OSError):
        remove_tree(directory)
