"""Whether one more trial fits beside what runs, and whether another sweep should come first: pure.

Sweeps share a machine by turns. Each has a *dominant share*, the largest part of cores, memory or GPUs that its trials have
(dominant resource fairness; Ghodsi et al., NSDI 2011). One that waits for room comes before another of a higher share, and of
equal ones the one that was served longest ago, where both want the same scarce thing.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from runtime.light_dataclasses import dataclass

# Shares of a core or a GPU are floats: what is over by a rounding error fits.
_ROUNDING = 1e-6


@dataclass(frozen=True, slots=True)
class Need:
    """What one trial takes."""

    cpus: float = 0
    memory_bytes: int | None = None
    gpus: float = 0


@dataclass(frozen=True, slots=True)
class Offer:
    """What the machine has."""

    cpus: float
    memory_bytes: int
    gpus: int


@dataclass(frozen=True, slots=True)
class Rival:
    """Another sweep on this machine."""

    running: tuple[Need, ...] = ()
    waits_for: Need | None = None
    """What its next trial needs, when it waits for room."""
    served_at: float = 0.0
    """When it started a trial last, or began to wait (Unix seconds)."""


@dataclass(frozen=True, slots=True)
class Load:
    """What others run here."""

    runs: tuple[Need, ...] = ()
    """Runs that belong to no sweep, and trials whose sweep was killed."""
    rivals: tuple[Rival, ...] = ()


def fits(need: Need, others: Iterable[Need], offer: Offer) -> bool:
    """Whether cores and memory are enough for *need* beside *others*. Which GPUs are free is not a matter of counting."""
    beside = list(others)
    return (
        need.cpus + sum(other.cpus for other in beside) <= offer.cpus + _ROUNDING
        and (need.memory_bytes or 0) + sum(other.memory_bytes or 0 for other in beside) <= offer.memory_bytes
    )


def has_room(need: Need, mine: Sequence[Need], load: Load, offer: Offer) -> bool:
    """Whether *need* may start beside *mine* and the *load* of others.

    A sweep that has nothing running waits for other sweeps only: their trials end soon, and it has its turn then. A run may last
    for days, and two runs that together ask for more than there is are started, too.
    """
    trials = [need for rival in load.rivals for need in rival.running]
    if mine or trials:
        return fits(need, [*mine, *trials, *(load.runs if mine else ())], offer)
    return True


def comes_first(rival: Rival, need: Need, mine: Sequence[Need], load: Load, offer: Offer, *, served_at: float) -> bool:
    """Whether *rival*'s next trial goes before mine, which needs *need*."""
    if rival.waits_for is None:
        return False
    its, own = dominant_share(rival.running, offer), dominant_share(mine, offer)
    if its > own + _ROUNDING or (its > own - _ROUNDING and rival.served_at >= served_at):
        return False
    every = [*mine, *load.runs, *(each for other in load.rivals for each in other.running)]
    return _takes_from(need, rival.waits_for, every, offer)


def dominant_share(needs: Iterable[Need], offer: Offer) -> float:
    """The largest part of anything that *needs* have of the machine."""
    having = list(needs)
    parts = [
        sum(need.cpus for need in having) / offer.cpus,
        sum(need.memory_bytes or 0 for need in having) / offer.memory_bytes,
        sum(need.gpus for need in having) / max(1, offer.gpus),
    ]
    return max(parts)


def _takes_from(need: Need, wanted: Need, running: Sequence[Need], offer: Offer) -> bool:
    """Whether there would not be enough for *wanted* of something that *need* takes."""
    both = (need, wanted, *running)
    if need.cpus > 0 and sum(each.cpus for each in both) > offer.cpus + _ROUNDING:
        return True
    return bool(need.memory_bytes and wanted.memory_bytes) and sum(each.memory_bytes or 0 for each in both) > offer.memory_bytes


def offer() -> Offer:
    """What this machine has for the trials of a sweep."""
    from launcher.plan.machine_share import this_machine
    from runtime.gpu.nvidia.proc_driver import count_gpus

    machine = this_machine()
    return Offer(machine.cpus, machine.memory_bytes, count_gpus())
