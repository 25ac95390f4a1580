"""The GPUs of this machine as one run sees them: what fulfils its wishes, how it is connected, who is there outside launch."""

from __future__ import annotations

import time
from collections.abc import Mapping

from launcher.errors import LaunchError
from launcher.plan.gpus.gpu_request import matching_gpus
from launcher.plan.launch_plan import LaunchPlan
from launcher.run.gpus.process_owner import owner_of
from launcher.schedule.device import Device, list_devices
from launcher.schedule.device_request import DeviceRequest
from launcher.schedule.foreign_use import ForeignUse, ProcessOwner, find_foreign_use
from runtime.gpu.gpu import Gpu
from runtime.gpu.inventory import read_gpus
from runtime.gpu.leases.lease import SLOTS, Occupancy
from runtime.gpu.roots import Roots
from runtime.gpu.topology import Topology


class GpuPool:
    """One reading of the driver, made anew by `read`. Raises LaunchError when the wishes can no longer be fulfilled.

    *avoided*: what failed the run before; it is taken when nothing else is left. *only*: what it had, and no other.
    """

    def __init__(self, plan: LaunchPlan, *, avoided: frozenset[str] = frozenset(), only: frozenset[str] | None = None) -> None:
        self._plan = plan
        self._avoided = avoided
        self._only = only
        self._roots = Roots.of_this_machine()
        self.request = DeviceRequest(())
        self.read()

    def read(self) -> None:
        """A GPU may have been lost since, or sliced, or come back."""
        self.gpus: tuple[Gpu, ...] = read_gpus()
        self._read_at = time.monotonic()
        self.devices: tuple[Device, ...] = list_devices(self.gpus)
        before, self.request = self.request, self._request()
        if self.request != before:
            self.topology = _topology(self.gpus, self.request)

    @property
    def age_s(self) -> float:
        """Of the last reading."""
        return time.monotonic() - self._read_at

    def foreign_use(self, occupied: Mapping[str, Occupancy]) -> dict[str, ForeignUse]:
        """Who used devices outside launch at the last reading, while they were leased as *occupied* says."""
        if self._plan.gpus < 1 and self._plan.spec.cluster.kind != "local":
            return {}  # the cluster has given us a part of it, and other parts to others
        holders = [holder for one in occupied.values() for holder in one.holders]
        supervisors = {holder.pid: holder.run for holder in holders if holder.pid and holder.run}

        def find(pid: int) -> ProcessOwner | None:
            return owner_of(pid, supervisors, self._roots)

        return find_foreign_use(self.gpus, occupied, find)

    def _offers(self) -> tuple[str, ...]:
        plan = self._plan
        offers, _ = matching_gpus(self.gpus, plan.spec.gpu)
        if self._only is not None:
            offers = tuple(uuid for uuid in offers if uuid in self._only)
        if len(offers) < plan.gpus:
            sick = "; ".join(f"GPU {gpu.index}: {gpu.trouble}" for gpu in self.gpus if gpu.trouble)
            raise LaunchError(
                f"not enough GPUs: {plan.gpus:g} requested, {len(offers)} that fulfil `gpu` are left here",
                hint=sick or "`launch gpus` shows what this machine has now",
            )
        others = tuple(uuid for uuid in offers if uuid not in self._avoided)
        return others if len(others) >= plan.gpus else offers

    def _request(self) -> DeviceRequest:
        gpus, wishes = self._plan.gpus, self._plan.spec.gpu
        return DeviceRequest(
            self._offers(),
            count=max(1, int(gpus)),
            slots=SLOTS if gpus >= 1 else max(1, round(gpus * SLOTS)),
            linked=wishes.topology == "nvlink",
            least_memory=wishes.memory is not None,
        )


def _topology(gpus: tuple[Gpu, ...], request: DeviceRequest) -> Topology:
    """How GPUs are connected matters to those who want several, and to one who should not tear a pair apart."""
    if len(request.offers) < 2 or request.slots < SLOTS:
        return Topology()
    from runtime.gpu.topology import read_topology

    return read_topology(gpus)
