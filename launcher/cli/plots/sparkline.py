"""Curves in a line of text."""

from __future__ import annotations

import math
from collections.abc import Sequence

_LEVELS = "▁▂▃▄▅▆▇█"


def sparkline(values: Sequence[float], width: int = 16) -> str:
    """*values* as a row of at most *width* blocks, each the mean of its share; what is not finite is a dot."""
    if not values:
        return ""
    shares = [values[index * len(values) // width : (index + 1) * len(values) // width] for index in range(width)]
    means = [_mean(share) for share in (shares if len(values) > width else [[value] for value in values])]
    finite = [mean for mean in means if mean is not None]
    if not finite:
        return "·" * len(means)
    low, high = min(finite), max(finite)
    return "".join("·" if mean is None else _block(mean, low, high) for mean in means)


def _mean(share: Sequence[float]) -> float | None:
    finite = [value for value in share if math.isfinite(value)]
    return sum(finite) / len(finite) if finite else None


def _block(mean: float, low: float, high: float) -> str:
    if high == low:
        return _LEVELS[3]
    return _LEVELS[min(len(_LEVELS) - 1, int((mean - low) / (high - low) * len(_LEVELS)))]
