"""Whether GPUs for one more trial are free now: by the locks that leases are, without asking the driver each time.

Only the trial's own supervisor takes them, in the line that all runs of the machine stand in (`launcher.run.gpu_line`). Here is
foreseen what it will find, so that a sweep neither fills that line nor leaves a GPU idle. What strangers use is not seen here: a
trial that meets one waits in the line.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from launcher.plan.launch_plan import LaunchPlan
from launcher.schedule.device import Device, as_they_are
from launcher.schedule.placement import choose

if TYPE_CHECKING:
    from launcher.run.gpu_pool import GpuPool


class FreeGpus:
    """The driver is read once for each kind of wish."""

    def __init__(self) -> None:
        self._pools: dict[str, GpuPool] = {}

    def are_enough(self, plan: LaunchPlan, coming: Iterable[LaunchPlan]) -> bool:
        """Whether *plan*'s trial would be placed now, after those that are *coming*."""
        devices = self._now(plan)
        for ahead in coming:
            want = self._pool(ahead).want
            taken = choose(want, devices, self._pool(ahead).topology)
            if taken is None:
                return False
            devices |= {uuid: devices[uuid].given(want.slots) for uuid in taken}
        return choose(self._pool(plan).want, devices, self._pool(plan).topology) is not None

    def _now(self, plan: LaunchPlan) -> dict[str, Device]:
        from runtime.gpu.leases.lease import occupancy, placement_lock
        from runtime.gpu.leases.lock_files import lease_dir

        directory, devices = lease_dir(), self._pool(plan).devices
        uuids = dict.fromkeys(uuid for device in devices for uuid in (device.uuid, device.parent) if uuid is not None)
        with placement_lock(directory):
            return as_they_are(devices, {uuid: occupancy(directory, uuid) for uuid in uuids}, {})

    def _pool(self, plan: LaunchPlan) -> GpuPool:
        from launcher.run.gpu_pool import GpuPool

        key = repr((plan.gpus, plan.spec.gpu))
        if key not in self._pools:
            self._pools[key] = GpuPool(plan)
        return self._pools[key]
