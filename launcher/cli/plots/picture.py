"""Curves to be drawn, in the terminal (`terminal.py`) or as a file: PNG, SVG or PDF, by the name's ending.

The only place of matplotlib beside the pictures of sweeps; importing it takes a second.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from launcher.errors import ConfigError
from launcher.run.compare.curve import Curve
from runtime.light_dataclasses import dataclass

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FORMATS = ("png", "svg", "pdf")
NAMED = 20
"""Curves that the legend names; it says how many more there are."""


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
        values = _smooth([value for _x, value in points], smooth)
        shown = ((x, _height(value, log_y=log_y)) for (x, _value), value in zip(points, values, strict=True))
        curves.append(PlottedCurve(label, tuple(shown)))
    return Plot(metric, "s" if over_time else "steps", tuple(curves), log_y)


def _height(value: float, *, log_y: bool) -> float:
    if not log_y:
        return value
    return math.log10(value) if value > 0 else math.nan


def _smooth(values: Sequence[float], weight: float) -> list[float]:
    """Weights corrected for the start, as Adam does: the first point is itself."""
    if not weight:
        return list(values)
    found, mean, total = [], 0.0, 0.0
    for value in values:
        if math.isfinite(value):
            mean, total = weight * mean + (1 - weight) * value, weight * total + (1 - weight)
        found.append(mean / total if total else value)
    return found


def check_format(path: Path) -> None:
    if path.suffix.lower().lstrip(".") not in FORMATS:
        raise ConfigError(f"`{path}`: no format that can be written", hint="name it .png, .svg or .pdf")


def write_plots(plots: Sequence[Plot], path: Path) -> None:
    """One picture with the *plots* one below the other. The same plots give the same bytes."""
    import matplotlib

    matplotlib.use("Agg")
    matplotlib.rcParams["svg.hashsalt"] = "launch"
    kind = path.suffix.lower().lstrip(".")
    undated = {"png": {"Software": None}, "svg": {"Date": None}, "pdf": {"CreationDate": None}}
    figure = draw_plots(plots)
    legends = [axes.get_legend() for axes in figure.axes]
    figure.savefig(path, format=kind, dpi=120, metadata=undated[kind], bbox_inches="tight", bbox_extra_artists=legends)


def draw_plots(plots: Sequence[Plot]) -> Figure:
    """With the legend beside the curves, which may be many."""
    from matplotlib import colormaps
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    figure = Figure(figsize=(8, 4.5 * len(plots)), layout="constrained")
    for number, plot in enumerate(plots):
        axes = figure.add_subplot(len(plots), 1, number + 1)
        count = len(plot.curves)
        if count > 10:  # as many colours as curves
            axes.set_prop_cycle(color=colormaps["turbo"]([place / (count - 1) for place in range(count)]))
        for curve in plot.curves:
            across = [x for x, _y in curve.points]
            up = [10**y if plot.log_y else y for _x, y in curve.points]
            axes.plot(across, up, label=curve.label, marker="." if len(up) < 40 else None)
        axes.set(title=plot.title, xlabel=plot.x_label, yscale="log" if plot.log_y else "linear")
        axes.grid(alpha=0.3)
        axes.xaxis.set_major_locator(MaxNLocator("auto", integer=plot.x_label == "steps"))
        more = f"and {count - NAMED} more" if count > NAMED else None
        legend = axes.legend(handles=axes.lines[:NAMED], loc="upper left", bbox_to_anchor=(1.01, 1), fontsize=8, title=more)
        legend.set_in_layout(False)  # the curves keep their width; the picture grows by the legend's
    return figure
