"""A trial that can be started: planned, with its image built."""

from __future__ import annotations

from launcher.plan.launch_plan import LaunchPlan
from launcher.sweep.capacity import Need
from launcher.sweep.trial_log import Verdict
from runtime.light_dataclasses import dataclass
from runtime.oci.digest import Digest


@dataclass(frozen=True, slots=True)
class Trial:
    """One point of the space with its seed."""

    number: int
    """From 1; `LAUNCH_TRIAL` in the program."""
    overrides: tuple[str, ...]
    """What sets it apart: `params.lr=0.1`, `seed=2`."""
    plan: LaunchPlan
    image_digest: Digest

    @property
    def need(self) -> Need:
        return Need(self.plan.cpus, self.plan.memory_bytes, self.plan.gpus)


@dataclass(frozen=True, slots=True)
class EndedTrial:
    """What is kept of a trial that has ended: its record can be read again."""

    number: int
    overrides: tuple[str, ...]
    run_id: str
    verdict: Verdict
