"""How the points of a sweep are chosen: what every search can do. The searches are `listed_search.py` and `optuna_search.py`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

Chosen = Mapping[str, float | str]
"""Key of a dimension → the choice (as the override that sets it) or the number."""


class PointState(StrEnum):
    """How a point ended. One that was cut short by a person has not ended."""

    COMPLETE = "complete"
    PRUNED = "pruned"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class PointEnd:
    """What a search is told of a point."""

    state: PointState
    values: tuple[float, ...] = ()
    """The objectives, when complete."""
    violations: tuple[float, ...] = ()
    """One number a constraint: it is kept at 0 and below."""


class Search(Protocol):
    """Chooses points. Points are numbered from 1 in the order in which they are asked for."""

    def ask(self, number: int) -> Chosen | None:
        """The next point; None when there is none left."""

    def adopt(self, number: int, chosen: Chosen) -> None:
        """A point that was asked for before (the sweep is resumed): as if `ask` had given it."""

    def report(self, number: int, value: float) -> bool:
        """The next report of the metric by a point; whether the point shall be stopped."""

    def tell(self, number: int, end: PointEnd) -> None:
        """How a point ended."""


def dominates(one: Sequence[float], other: Sequence[float], *, maximize: Sequence[bool]) -> bool:
    """Whether *one* is no worse than *other* in every objective and better in one (Pareto)."""
    signed = [(a, b) if up else (-a, -b) for a, b, up in zip(one, other, maximize, strict=True)]
    return all(a >= b for a, b in signed) and any(a > b for a, b in signed)
