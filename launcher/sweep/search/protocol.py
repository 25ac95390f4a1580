"""How the points of a sweep are chosen: what every search can do, and how a point ended as far as a search cares. The searches
are `listed_search.py` and `optuna_search.py`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from enum import StrEnum
from statistics import fmean
from typing import Protocol

from runtime.light_dataclasses import dataclass


class EndState(StrEnum):
    """One that was cut short by a person has not ended."""

    COMPLETE = "complete"
    PRUNED = "pruned"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class End:
    state: EndState
    values: tuple[float, ...] = ()
    """The objectives, one a metric, when complete."""
    violations: tuple[float, ...] = ()
    """One a constraint; it is kept at 0 and below."""


def combine(ends: Sequence[End]) -> End:
    """The end of a point from those of its seeds: the mean over the complete ones; pruned, or failed, where there is none."""
    complete = [end for end in ends if end.state is EndState.COMPLETE and all(map(math.isfinite, end.values))]
    if not complete:
        return End(EndState.PRUNED if any(end.state is EndState.PRUNED for end in ends) else EndState.FAILED)
    values = tuple(fmean(column) for column in zip(*(end.values for end in complete), strict=True))
    violations = tuple(max(column) for column in zip(*(end.violations for end in complete), strict=True))
    return End(EndState.COMPLETE, values, violations)


Chosen = Mapping[str, float | str]
"""Key of a dimension → the choice (as the override that sets it) or the number."""


class Search(Protocol):
    """Chooses points. Points are numbered from 1 in the order in which they are asked for."""

    def ask(self, number: int) -> Chosen | None:
        """The next point; None when there is none left."""

    def adopt(self, number: int, chosen: Chosen) -> None:
        """A point that was asked for before (the sweep is resumed): as if `ask` had given it."""

    def report(self, number: int, value: float) -> bool:
        """The next report of the metric by a point; whether the point shall be stopped."""

    def tell(self, number: int, end: End) -> None:
        """How a point ended."""
