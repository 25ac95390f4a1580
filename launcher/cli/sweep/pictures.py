"""Pictures of a sweep as PNG files: how the best value developed, parallel coordinates, slices, what mattered."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from launcher.config.sweep_dimension import Dimension
from launcher.sweep.results import SweepResults, TrialResult
from launcher.sweep.search.importance import Importance

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FEWEST = 3
"""Trials with a value below which a picture says nothing."""


def write_pictures(results: SweepResults, directory: Path, *, importance: Importance) -> list[Path]:
    """Write what there is to see; the names of the files."""
    if len(results.complete) < FEWEST:
        return []
    import matplotlib

    matplotlib.use("Agg")
    drawn: dict[str, Callable[[], Figure]] = {
        "history": lambda: _history(results),
        "parallel": lambda: draw_parallel(results),
        "slices": lambda: draw_slices(results),
    }
    if importance.shares:
        drawn["importance"] = lambda: _importance(importance)
    directory.mkdir(exist_ok=True)
    paths = []
    for name, draw in drawn.items():
        path = directory / f"sweep_{name}.png"
        draw().savefig(path, dpi=120, metadata={"Software": None})
        paths.append(path)
    return paths


def _figure(width: float, height: float) -> Figure:
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def _history(results: SweepResults) -> Figure:
    """Every trial's value by number, and the best until then; one row a metric."""
    figure = _figure(8, 3.5 * len(results.settings.metrics))
    for row, (metric, direction) in enumerate(zip(results.settings.metrics, results.settings.directions, strict=True)):
        axes = figure.add_subplot(len(results.settings.metrics), 1, row + 1)
        numbers = [trial.number for trial in results.complete]
        values = [trial.values[row] for trial in results.complete]
        better = max if direction == "maximize" else min
        best = [better(values[: count + 1]) for count in range(len(values))]
        axes.plot(numbers, values, "o", alpha=0.6, label="trial")
        axes.step(numbers, best, where="post", label="best so far")
        axes.set(xlabel="trial", ylabel=metric, title=f"sweep {results.sweep_id}")
        axes.grid(alpha=0.3)
        axes.legend()
    return figure


def draw_parallel(results: SweepResults) -> Figure:
    """One line a trial through its values, coloured by the first metric. Words have a white edge where lines cross them."""
    from matplotlib import colormaps
    from matplotlib.patheffects import withStroke

    axes_of = [_Scale(dimension, results.complete) for dimension in results.dimensions]
    figure = _figure(max(6, 2.2 * (len(axes_of) + 1)), 4.5)
    axes = figure.add_subplot()
    values = [trial.values[0] for trial in results.complete]
    low, high = min(values), max(values)
    for trial, value in sorted(zip(results.complete, values, strict=True), key=lambda pair: pair[1]):
        share = 0.5 if high == low else (value - low) / (high - low)
        line = [scale.place(trial) for scale in axes_of]
        axes.plot(range(len(line) + 1), [*line, share], color=colormaps["viridis"](share), alpha=0.6)
    names = [*(dimension.key for dimension in results.dimensions), results.settings.metrics[0]]
    axes.set_xticks(range(len(names)), names)
    axes.set_yticks([])
    axes.set_xlim(-0.2, len(names) - 0.8)
    edge = withStroke(linewidth=3, foreground="white")
    for position, labels in enumerate([*(scale.labels for scale in axes_of), [(0.0, f"{low:.4g}"), (1.0, f"{high:.4g}")]]):
        axes.axvline(position, color="black", linewidth=0.5)
        for place, word in labels:
            told = axes.annotate(word, (position, place), (4, 0), textcoords="offset points", va="center", fontsize=8, zorder=5)
            told.set_path_effects([edge])
    return figure


def draw_slices(results: SweepResults) -> Figure:
    """The first metric over each dimension."""
    figure = _figure(3.5 * max(1, len(results.dimensions)), 3.5)
    for column, dimension in enumerate(results.dimensions):
        axes = figure.add_subplot(1, len(results.dimensions), column + 1)
        points = [(trial.value_of(dimension), trial.values[0], trial.number) for trial in results.complete]
        shown = [point for point in points if point[0] is not None]
        across: list[Any] = [point[0] if not isinstance(point[0], str) else _short(point[0]) for point in shown]
        axes.scatter(across, [point[1] for point in shown], c=[point[2] for point in shown], cmap="Blues", edgecolors="grey")
        axes.set(xlabel=dimension.key)
        if dimension.log:  # to set "linear" would put numbers in the place of words
            axes.set_xscale("log")
        if column == 0:
            axes.set_ylabel(results.settings.metrics[0])
        axes.grid(alpha=0.3)
    return figure


def _importance(importance: Importance) -> Figure:
    shares = importance.shares
    figure = _figure(6, 1 + 0.5 * len(shares))
    axes = figure.add_subplot()
    names = list(shares)[::-1]
    axes.barh(names, [shares[name] for name in names])
    axes.set(xlabel=f"share of the variance explained (fANOVA, {importance.trials} trials)", xlim=(0, 1))
    return figure


class _Scale:
    """A vertical axis of parallel coordinates, from 0 to 1."""

    def __init__(self, dimension: Dimension, trials: Sequence[TrialResult]) -> None:
        import math

        self._dimension = dimension
        self._bend: Callable[[float], float] = math.log if dimension.log else float
        values = [value for trial in trials if (value := trial.value_of(dimension)) is not None]
        self._words = sorted({value for value in values if isinstance(value, str)})
        numbers = [value for value in values if isinstance(value, int | float)]
        self._low, self._high = (min(numbers), max(numbers)) if numbers else (0.0, 1.0)

    @property
    def labels(self) -> list[tuple[float, str]]:
        if self._words:
            return [(self._of_word(word), _short(word)) for word in self._words]
        return [(0.0, f"{self._low:.4g}"), (1.0, f"{self._high:.4g}")]

    def place(self, trial: TrialResult) -> float:
        value: Any = trial.value_of(self._dimension)
        if isinstance(value, str):
            return self._of_word(value)
        if value is None or self._high == self._low:
            return 0.5
        low, high = self._bend(self._low), self._bend(self._high)
        return (self._bend(value) - low) / (high - low)

    def _of_word(self, word: str) -> float:
        return 0.5 if len(self._words) < 2 else self._words.index(word) / (len(self._words) - 1)


def _short(text: str) -> str:
    return text if len(text) <= 16 else text[:15] + "…"
