"""What is to be drawn, before it is known on what: a terminal (`terminal.py`) or a file (`file.py`)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from launcher.run.compare.curve import Curve


@dataclass(frozen=True, slots=True)
class PlottedCurve:
    label: str
    points: tuple[tuple[float, float], ...]
    """(x, y); y is log10 of the value on a logarithmic axis."""


@dataclass(frozen=True, slots=True)
class Plot:
    title: str
    x_label: str
    curves: tuple[PlottedCurve, ...]
    log_y: bool = False


def plot_of(metric: str, labelled: Sequence[tuple[str, Curve]], *, over_time: bool, log_y: bool, smooth: float = 0.0) -> Plot:
    """*labelled* curves of one metric. *smooth*: weight of the past in an exponential moving average, as in TensorBoard."""
    curves = []
    for label, curve in labelled:
        across = curve.seconds if over_time else curve.steps
        points = sorted(zip(across, curve.values, strict=True), key=lambda point: point[0])
        values = _smoothed([value for _x, value in points], smooth)
        shown = ((x, _up(value, log_y=log_y)) for (x, _value), value in zip(points, values, strict=True))
        curves.append(PlottedCurve(label, tuple(shown)))
    return Plot(metric, "s" if over_time else "steps", tuple(curves), log_y)


def _up(value: float, *, log_y: bool) -> float:
    if not log_y:
        return value
    return math.log10(value) if value > 0 else math.nan


def _smoothed(values: Sequence[float], weight: float) -> list[float]:
    """Weights corrected for the start, as Adam does: the first point is itself."""
    if not weight:
        return list(values)
    found, mean, total = [], 0.0, 0.0
    for value in values:
        if math.isfinite(value):
            mean, total = weight * mean + (1 - weight) * value, weight * total + (1 - weight)
        found.append(mean / total if total else value)
    return found
