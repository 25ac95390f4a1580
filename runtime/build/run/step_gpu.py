"""The GPU of a command that wants one while the image is built: an idle one of the planned architecture, leased as a run's is.

It stands in no queue: whatever is free at that moment will do, and it is given back when the command has ended.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from runtime.build.plan import RunCommand
from runtime.build.step_label import step_label
from runtime.container.device_edits import apply_edits
from runtime.container.spec import ContainerSpec
from runtime.errors import BuildError
from runtime.gpu.gpu import Gpu
from runtime.gpu.inject import injection
from runtime.gpu.inventory import read_gpus
from runtime.gpu.leases.lease import GpuLease, Unit, occupancy, placement_lock, release, take
from runtime.gpu.leases.lock_files import lease_dir
from runtime.kernel.processes import login_name
from runtime.light_dataclasses import replace

_LOOK_AGAIN_S = 1.0


@contextmanager
def with_gpu(spec: ContainerSpec, step: RunCommand, tell: Callable[[str], None]) -> Iterator[ContainerSpec]:
    """*spec* with the GPU that *step* wants, which is held for the body. *tell* hears that it has to be waited for.

    Raises BuildError where this machine has none of that architecture, GpuError where the driver does not come up.
    """
    lease = _wait_for_gpu(step, spec.container_id, tell)
    try:
        # The loader's cache would be part of the layer; the command has LD_LIBRARY_PATH.
        yield replace(apply_edits(spec, injection(read_gpus(), lease.uuids)), loader_dirs=())
    finally:
        release(lease)


def _wait_for_gpu(step: RunCommand, holder: str, tell: Callable[[str], None]) -> GpuLease:
    told = False
    while (lease := _take_idle(_units(step), holder)) is None:
        if not told:
            tell(f"`{step_label(step)}` waits for a GPU (`{step.gpu}`): all are in use")
            told = True
        time.sleep(_LOOK_AGAIN_S)
    return lease


def _units(step: RunCommand) -> dict[Unit, bool]:
    """The GPUs and MIG instances of the architecture of *step* → whether somebody computes there. The emptiest come first."""
    ours = read_gpus()
    fitting = [gpu for gpu in ours if gpu.capability == step.gpu and gpu.trouble is None and gpu.uuid is not None]
    if not fitting:
        there = ", ".join(f"{gpu.model} (`{gpu.capability}`)" for gpu in ours) or "none"
        raise BuildError(
            f"`{step_label(step)}` was planned for a GPU of architecture `{step.gpu}`, and none is usable here",
            hint=f"present: {there}; build it on a machine that has one",
        )
    fitting.sort(key=lambda gpu: gpu.used_bytes or 0)
    return {unit: unit.uuid in gpu.computing for gpu in fitting for unit in _units_of(gpu)}


def _units_of(gpu: Gpu) -> list[Unit]:
    if gpu.mig_enabled:
        return [Unit(one.uuid, parent=gpu.uuid) for one in gpu.mig]
    return [Unit(str(gpu.uuid))]


def _take_idle(units: dict[Unit, bool], holder: str) -> GpuLease | None:
    directory = lease_dir()
    hint = {"run": holder, "user": login_name(), "pid": os.getpid(), "since": time.time()}
    with placement_lock(directory):
        for unit, is_computing in units.items():
            if is_computing or occupancy(directory, unit.uuid).holders:
                continue
            if (lease := take(directory, [unit], hint)) is not None:
                return lease
    return None
