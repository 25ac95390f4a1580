"""How many trials may run at once: pure."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Need:
    """What one trial takes."""

    cpus: float
    memory_bytes: int | None
    gpus: float


@dataclass(frozen=True, slots=True)
class Offer:
    """What the machine has."""

    cpus: float
    memory_bytes: int
    gpus: int


def slots(need: Need, offer: Offer, *, parallel: int | None) -> int:
    """Trials that fit side by side: cpus, memory, GPUs and `sweep.parallel` each bound it; never less than one."""
    bounds = [int(offer.cpus / need.cpus)]
    if need.memory_bytes:
        bounds.append(offer.memory_bytes // need.memory_bytes)
    if need.gpus:
        bounds.append(int(offer.gpus / need.gpus))
    if parallel is not None:
        bounds.append(parallel)
    return max(1, min(bounds))
