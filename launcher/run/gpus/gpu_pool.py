"""The GPUs of this machine as one run sees them: what fulfils its wishes, how it is connected, who is there outside launch."""

from __future__ import annotations

import time
from collections.abc import Mapping

from launcher.errors import LaunchError
from launcher.plan.gpus.gpu_request import matching_gpus
from launcher.plan.launch_plan import LaunchPlan
from launcher.run.process_owner import who_is
from launcher.schedule.device import Device, devices_of
from launcher.schedule.device_request import Want
from launcher.schedule.foreign_processes import Stranger, Who, strangers
from runtime.gpu.gpu import Gpu
from runtime.gpu.inventory import read_gpus
from runtime.gpu.leases.lease import SLOTS, Occupancy
from runtime.gpu.roots import Roots
from runtime.gpu.topology import Topology


class GpuPool:
    """One reading of the driver, made anew by `read`. Raises LaunchError when the wishes can no longer be fulfilled.

    *avoided*: what failed the run before; it is taken when nothing else is left.
    """

    def __init__(self, plan: LaunchPlan, *, avoided: frozenset[str] = frozenset()) -> None:
        self._plan = plan
        self._avoided = avoided
        self._roots = Roots.of_this_machine()
        self.want = Want(())
        self.read()

    def read(self) -> None:
        """A GPU may have been lost since, or sliced, or come back."""
        self.gpus: tuple[Gpu, ...] = read_gpus()
        self._read_at = time.monotonic()
        self.devices: tuple[Device, ...] = devices_of(self.gpus)
        before, self.want = self.want, self._want()
        if self.want != before:
            self.topology = _topology(self.gpus, self.want)

    @property
    def age_s(self) -> float:
        """Of the last reading."""
        return time.monotonic() - self._read_at

    def strangers(self, occupied: Mapping[str, Occupancy]) -> dict[str, Stranger]:
        """Who used devices outside launch at the last reading, while they were leased as *occupied* says."""
        if self._plan.gpus < 1 and self._plan.spec.cluster.kind != "local":
            return {}  # the cluster has given us a part of it, and other parts to others
        holders = [holder for one in occupied.values() for holder in one.holders]
        supervisors = {holder.pid: holder.run for holder in holders if holder.pid and holder.run}

        def find(pid: int) -> Who | None:
            return who_is(pid, supervisors, self._roots)

        return strangers(self.gpus, occupied, find)

    def _offers(self) -> tuple[str, ...]:
        plan = self._plan
        offers, _ = matching_gpus(self.gpus, plan.spec.gpu)
        if len(offers) < plan.gpus:
            sick = "; ".join(f"GPU {gpu.index}: {gpu.trouble}" for gpu in self.gpus if gpu.trouble)
            raise LaunchError(
                f"not enough GPUs: {plan.gpus:g} requested, {len(offers)} that fulfil `gpu` are left here",
                hint=sick or "`launch gpus` shows what this machine has now",
            )
        others = tuple(uuid for uuid in offers if uuid not in self._avoided)
        return others if len(others) >= plan.gpus else offers

    def _want(self) -> Want:
        gpus, wishes = self._plan.gpus, self._plan.spec.gpu
        return Want(
            self._offers(),
            count=max(1, int(gpus)),
            slots=SLOTS if gpus >= 1 else max(1, round(gpus * SLOTS)),
            linked=wishes.topology == "nvlink",
            least_memory=wishes.memory is not None,
        )


def _topology(gpus: tuple[Gpu, ...], want: Want) -> Topology:
    """How GPUs are connected matters to those who want several, and to one who should not tear a pair apart."""
    if len(want.offers) < 2 or want.slots < SLOTS:
        return Topology()
    from runtime.gpu.topology import read_topology

    return read_topology(gpus)
