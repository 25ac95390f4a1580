"""Curves in the terminal: a picture with axes, legend and braille lines; a row of blocks in a line of text."""

from __future__ import annotations

import itertools
import math
import sys
from collections.abc import Iterator, Sequence

from launcher.cli import render
from launcher.cli.plots.picture import Plot

_BITS = ((0x01, 0x02, 0x04, 0x40), (0x08, 0x10, 0x20, 0x80))
"""Column, row → the dot's bit in the code point of a braille pattern (Unicode block U+2800): two by four dots for a letter."""
_STYLES = ("cyan", "yellow", "green", "red", "bold", "dim")
_LABEL = 11
_LEVELS = "▁▂▃▄▅▆▇█"


def plot_lines(plot: Plot, *, columns: int, rows: int) -> Iterator[str]:
    """*plot* in at most *columns* letters a line. What is not finite, or not above 0 on a logarithmic axis, is left out."""
    curves = [[(x, y) for x, y in curve.points if math.isfinite(x) and math.isfinite(y)] for curve in plot.curves]
    points = list(itertools.chain.from_iterable(curves))
    if not points:
        yield f"{plot.title}: no value that can be drawn"
        return
    canvas = Canvas(max(10, columns - _LABEL - 2), max(4, rows))
    across, up = _Axis.around([x for x, _y in points], canvas.width), _Axis.around([y for _x, y in points], canvas.height)
    for color, curve in enumerate(curves):
        dots = [(across.place(x), up.place(y)) for x, y in curve]
        for start, end in itertools.pairwise(dots) if len(dots) > 1 else [(dot, dot) for dot in dots]:
            canvas.line(start, end, color % len(_STYLES))
    yield plot.title
    for row in range(canvas.rows):
        label = {0: up.high, canvas.rows - 1: up.low}.get(row)
        words = "" if label is None else render.number(10**label if plot.log_y else label)
        yield f"{words:>{_LABEL}} ┤{''.join(_letters(canvas, row))}".rstrip()
    yield f"{'':>{_LABEL}} └{'─' * canvas.columns}"
    low, high = render.number(across.low), f"{render.number(across.high)} {plot.x_label}"
    yield f"{'':>{_LABEL}}  {low}{high:>{max(1, canvas.columns - len(low))}}"
    yield from (f"{'':>{_LABEL}}  {_styled('━━', color)} {curve.label}" for color, curve in enumerate(plot.curves))


def _letters(canvas: Canvas, row: int) -> Iterator[str]:
    for column in range(canvas.columns):
        letter, color = canvas.cell(column, row)
        yield letter if color is None else _styled(letter, color)


def _styled(text: str, color: int) -> str:
    return render.styled(text, _STYLES[color % len(_STYLES)], sys.stdout)


class _Axis:
    """Values from *low* to *high* over *dots* dots."""

    def __init__(self, low: float, high: float, dots: int) -> None:
        self.low, self.high, self._dots = low, high, dots

    @classmethod
    def around(cls, values: Sequence[float], dots: int) -> _Axis:
        low, high = min(values), max(values)
        if low == high:
            margin = abs(low) / 2 or 0.5
            low, high = low - margin, high + margin
        return cls(low, high, dots)

    def place(self, value: float) -> int:
        return round((value - self.low) / (self.high - self.low) * (self._dots - 1))


class Canvas:
    """A raster of braille dots. (0, 0) is at the bottom left."""

    def __init__(self, columns: int, rows: int) -> None:
        self.columns, self.rows = columns, rows
        self.width, self.height = columns * 2, rows * 4
        self._cells: dict[tuple[int, int], tuple[int, int]] = {}

    def dot(self, x: int, y: int, color: int) -> None:
        """Set a dot; a letter that two lines share has the color of the later one. Outside: nothing."""
        if not (0 <= x < self.width and 0 <= y < self.height):
            return
        down = self.height - 1 - y
        cell = (x // 2, down // 4)
        bits, _ = self._cells.get(cell, (0, color))
        self._cells[cell] = (bits | _BITS[x % 2][down % 4], color)

    def line(self, start: tuple[int, int], end: tuple[int, int], color: int) -> None:
        """A straight line, ends included."""
        (x0, y0), (x1, y1) = start, end
        count = max(abs(x1 - x0), abs(y1 - y0), 1)
        for number in range(count + 1):
            self.dot(round(x0 + (x1 - x0) * number / count), round(y0 + (y1 - y0) * number / count), color)

    def cell(self, column: int, row: int) -> tuple[str, int | None]:
        """The letter there, rows from the top, and its color; a blank has none."""
        bits, color = self._cells.get((column, row), (0, 0))
        return (chr(0x2800 + bits), color) if bits else (" ", None)


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
