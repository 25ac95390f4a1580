"""Whether the sweep may start its next trial now: cores, memory, `sweep.parallel`, GPUs, and whose turn it is.

Of trials with GPUs a few more are started than there are GPUs for: they stand in the machine's line, ready, and have a GPU the
moment one is free. Only a few: a sweep shall not fill the line that others stand in, too.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from launcher.journal.status import Stage
from launcher.plan.launch_plan import LaunchPlan
from launcher.schedule.device import Device
from launcher.schedule.placement import choose
from launcher.sweep.capacity import Load, Need, Offer, comes_first, has_room
from launcher.sweep.other_sweeps import OtherSweeps
from launcher.sweep.running import RunningTrial, RunningTrials
from launcher.sweep.trial import Trial

if TYPE_CHECKING:
    from launcher.run.gpus.gpu_pool import GpuPool


MOST_UNSENT = 16
"""Trials that have ended and whose record is still on its way to MLflow: more would only wait for a server that is slower."""

GPUS_A_READY_TRIAL = 4
"""One trial stands ready in the line for so many GPUs, and at least one."""


class Room:
    """The machine's, for one sweep. *parallel*: `sweep.parallel`. *ends_matter*: which trial is next, or whether one is, depends
    on how others end; so those that have only their record to send still count as side by side."""

    def __init__(self, offer: Offer, others: OtherSweeps, *, parallel: int | None, ends_matter: bool) -> None:
        self.offer = offer
        self.others = others
        self._parallel = parallel
        self._ends_matter = ends_matter
        self._gpus = FreeGpus()

    def admits(self, trial: Trial, running: RunningTrials) -> bool:
        """Whether *trial* may start now. Exact under the admission lock of `others`, who are told what we need if not."""
        open_trials = [each for each in running if each.staged.look() is not Stage.ENDED]
        if len(running) - len(open_trials) >= MOST_UNSENT:
            return False
        if self._parallel is not None and (len(running) if self._ends_matter else len(open_trials)) >= self._parallel:
            self.others.wait_no_longer()  # our own limit, no lack of room
            return False
        holding = [each.trial.need for each in open_trials if each.staged.stage is not Stage.QUEUED]
        if trial.need.gpus and not self._gpu_is_near(trial, open_trials):
            return self._stands_ready(trial, open_trials, holding)
        return self._turn(trial.need, holding, self.others.current_load())

    def _turn(self, need: Need, holding: list[Need], load: Load) -> bool:
        served_at = self.others.served_at
        if has_room(need, holding, load, self.offer) and not any(
            comes_first(rival, need, holding, load, self.offer, served_at=served_at) for rival in load.rivals
        ):
            return True
        self.others.wait(need)
        return False

    def _gpu_is_near(self, trial: Trial, open_trials: list[RunningTrial]) -> bool:
        """Whether it would have its GPUs at once."""
        coming = [each.trial.plan for each in open_trials if each.staged.stage is Stage.STARTING and each.trial.need.gpus]
        queued = any(each.staged.stage is Stage.QUEUED for each in open_trials)
        return not queued and self._gpus.are_enough(trial.plan, coming)

    def _stands_ready(self, trial: Trial, open_trials: list[RunningTrial], holding: list[Need]) -> bool:
        """Whether it is one of those that wait in the line: beside the others but for as many, which will have made room."""
        ready = sum(each.staged.stage is not Stage.HOLDING for each in open_trials)
        if ready >= max(1, self.offer.gpus // GPUS_A_READY_TRIAL):
            return False
        staying = sorted(holding, key=lambda need: need.gpus)[: -1 - ready]
        return has_room(trial.need, staying, self.others.current_load(), self.offer)


class FreeGpus:
    """Whether GPUs for one more trial are free now: by the locks of leases. The driver is read once for each kind of request.

    Only the trial's own supervisor takes them, in the line that all runs of the machine stand in (`run/gpus/gpu_queue.py`). Here
    is foreseen what it will find, so that a sweep neither fills that line nor leaves a GPU idle. What strangers use is not seen
    here: a trial that meets one waits in the line.
    """

    def __init__(self) -> None:
        self._pools: dict[str, GpuPool] = {}

    def are_enough(self, plan: LaunchPlan, coming: Iterable[LaunchPlan]) -> bool:
        """Whether *plan*'s trial would be placed now, after those that are *coming*."""
        devices = self._now(plan)
        for ahead in coming:
            request = self._pool(ahead).request
            taken = choose(request, devices, self._pool(ahead).topology)
            if taken is None:
                return False
            devices |= {uuid: devices[uuid].after_lease(request.slots) for uuid in taken}
        return choose(self._pool(plan).request, devices, self._pool(plan).topology) is not None

    def _now(self, plan: LaunchPlan) -> dict[str, Device]:
        from launcher.schedule.queue import read_devices
        from runtime.gpu.leases.lease import placement_lock
        from runtime.gpu.leases.lock_files import lease_dir

        directory = lease_dir()
        with placement_lock(directory):
            return read_devices(directory, self._pool(plan).devices)

    def _pool(self, plan: LaunchPlan) -> GpuPool:
        from launcher.run.gpus.gpu_pool import GpuPool

        key = repr((plan.gpus, plan.spec.gpu))
        if key not in self._pools:
            self._pools[key] = GpuPool(plan)
        return self._pools[key]
