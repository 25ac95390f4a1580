"""Whether one more trial fits beside those that run: pure."""

from __future__ import annotations

from collections.abc import Iterable
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


def fits(need: Need, running: Iterable[Need], offer: Offer, *, parallel: int | None) -> bool:
    """Whether *need* fits beside *running*: cpus, memory, GPUs and `sweep.parallel` each bound it. One alone always does."""
    others = list(running)
    if not others:
        return True
    if parallel is not None and len(others) >= parallel:
        return False
    # Shares of a core or a GPU are floats: what is over by a rounding error fits.
    return (
        need.cpus + sum(other.cpus for other in others) <= offer.cpus + 1e-6
        and (need.memory_bytes or 0) + sum(other.memory_bytes or 0 for other in others) <= offer.memory_bytes
        and need.gpus + sum(other.gpus for other in others) <= (offer.gpus + 1e-6 if need.gpus else float("inf"))
    )
