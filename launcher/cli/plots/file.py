"""A picture of curves as a file: PNG, SVG or PDF, by the name's ending. The only place of matplotlib, which takes a second."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from launcher.cli.plots.plotted import Plot
from launcher.errors import ConfigError

FORMATS = ("png", "svg", "pdf")


def check_format(path: Path) -> None:
    if path.suffix.lower().lstrip(".") not in FORMATS:
        raise ConfigError(f"`{path}`: no format that can be written", hint="name it .png, .svg or .pdf")


def write_plots(plots: Sequence[Plot], path: Path) -> None:
    """One picture with the *plots* one below the other. The same plots give the same bytes."""
    import matplotlib

    matplotlib.use("Agg")
    matplotlib.rcParams["svg.hashsalt"] = "launch"
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 4.5 * len(plots)), layout="constrained")
    for number, plot in enumerate(plots):
        axes = figure.add_subplot(len(plots), 1, number + 1)
        for curve in plot.curves:
            across = [x for x, _y in curve.points]
            up = [10**y if plot.log_y else y for _x, y in curve.points]
            axes.plot(across, up, label=curve.label, marker="." if len(up) < 40 else None)
        axes.set(title=plot.title, xlabel=plot.x_label, yscale="log" if plot.log_y else "linear")
        axes.grid(alpha=0.3)
        axes.legend()
    kind = path.suffix.lower().lstrip(".")
    undated = {"png": {"Software": None}, "svg": {"Date": None}, "pdf": {"CreationDate": None}}
    figure.savefig(path, format=kind, dpi=120, metadata=undated[kind])
