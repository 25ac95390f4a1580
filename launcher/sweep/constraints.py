"""`sweep.constraints`: what a trial must fulfil to count as a good one, as numbers that are kept at 0 and below."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence

_FORM = re.compile(r"(\S+?)\s*(<=|>=)\s*(\S+)")


def violations(constraints: Sequence[str], metrics: Mapping[str, float]) -> tuple[float, ...]:
    """How far each constraint (`latency_ms <= 20`) is broken by the last values of *metrics*; infinitely, where there is none."""
    return tuple(_violation(constraint, metrics) for constraint in constraints)


def _violation(constraint: str, metrics: Mapping[str, float]) -> float:
    match = _FORM.fullmatch(constraint.strip())
    assert match is not None, "the schema has checked it"
    value, bound = metrics.get(match[1], math.nan), float(match[3])
    if not math.isfinite(value):
        return math.inf
    return value - bound if match[2] == "<=" else bound - value
