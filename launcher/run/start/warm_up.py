"""What each supervisor and each tracker would import and work out anew, done once in the process that they are forked from.

A trial of a sweep costs a fork of it; what is not known here costs every trial again.
"""

from __future__ import annotations

import gc
from collections.abc import Callable
from importlib import import_module

from launcher.config.spec import ExperimentSpec, know_fields
from launcher.plan.machine_share import this_machine
from runtime.gpu.nvidia.proc_driver import count_gpus
from runtime.kernel.capabilities import PROGRAM_CAPABILITIES
from runtime.kernel.seccomp import program_bytes

_OF_TRACKERS = (
    "launcher.tracking.tracker_loop",
    "launcher.tracking.gateway.gateway",
    "launcher.tracking.mlflow.local_server",
    "launcher.tracking.record.record_files",
    "runtime.store.power_cuts",
    "encodings.ascii",
    "pwd",
)

_AT_THE_END = ("launcher.run.supervisor.workspace_files", "runtime.container.written_files", "runtime.cgroup.usage")
"""What a supervisor needs when its program has ended."""

_WITH_GPUS = (
    "launcher.run.gpus.gpu_queue",
    "launcher.run.gpus.gpu_watch",
    "launcher.run.gpus.gpu_affinity",
    "launcher.plan.gpus.devices",
    "launcher.plan.program.environment",
    "launcher.plan.gpus.image_libraries",
    "runtime.gpu.inject",
    "runtime.gpu.nvidia.requirements",
    "runtime.gpu.nvidia.forward_compat",
    "runtime.container.device_edits",
    "runtime.build.wheels.system_libraries",
)
"""Where the machine has GPUs: a trial would import them while it holds one, which idles meanwhile."""

_WORKED_OUT: tuple[Callable[[], object], ...] = (
    lambda: know_fields(ExperimentSpec),
    lambda: program_bytes(PROGRAM_CAPABILITIES, change_of_owner="made"),
    this_machine,
)


def warm_up(somebody_waits: Callable[[], bool]) -> None:
    """As long as nobody waits; and no collections that copy shared pages."""
    modules = (*_OF_TRACKERS, *_AT_THE_END, *(_WITH_GPUS if count_gpus() else ()))
    for step in (*(lambda name=name: import_module(name) for name in modules), *_WORKED_OUT):
        if somebody_waits():
            break
        step()
    gc.collect()
    gc.freeze()
