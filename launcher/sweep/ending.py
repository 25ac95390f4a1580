"""How a trial, or a point with its seeds, ended, as far as a search cares."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from statistics import fmean


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


def combined(ends: Sequence[End]) -> End:
    """The end of a point from those of its seeds: the mean over the complete ones; pruned, or failed, where there is none."""
    complete = [end for end in ends if end.state is EndState.COMPLETE and all(map(math.isfinite, end.values))]
    if not complete:
        return End(EndState.PRUNED if any(end.state is EndState.PRUNED for end in ends) else EndState.FAILED)
    values = tuple(fmean(column) for column in zip(*(end.values for end in complete), strict=True))
    violations = tuple(max(column) for column in zip(*(end.violations for end in complete), strict=True))
    return End(EndState.COMPLETE, values, violations)
