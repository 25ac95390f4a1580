"""Searches that learn nothing: every point of a grid, or points drawn one by one. Without Optuna, whose import takes 0.15 s."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator, Sequence

from launcher.config.sweep_dimension import Dimension
from launcher.sweep.search.protocol import Chosen, End

_DRAWS = 100
"""A small space is taken to be exhausted after so many draws of known points."""


class ListedSearch:
    """Points of an iterator, each once."""

    def __init__(self, points: Iterator[Chosen]) -> None:
        self._points = points
        self._known: set[tuple[tuple[str, float | str], ...]] = set()

    def ask(self, number: int) -> Chosen | None:
        for point in self._points:
            if self._is_new(point):
                return point
        return None

    def adopt(self, number: int, chosen: Chosen) -> None:
        self._is_new(chosen)

    def report(self, number: int, value: float) -> bool:
        return False

    def tell(self, number: int, end: End) -> None:
        """Nothing is learned."""

    def _is_new(self, point: Chosen) -> bool:
        identity = tuple(point.items())
        if identity in self._known:
            return False
        self._known.add(identity)
        return True


def grid_points(dimensions: Sequence[Dimension]) -> Iterator[Chosen]:
    """Every combination, the last dimension varying fastest."""
    keys = [dimension.key for dimension in dimensions]
    for values in itertools.product(*(dimension.choices for dimension in dimensions)):
        yield dict(zip(keys, values, strict=True))


def random_points(dimensions: Sequence[Dimension], seed: int) -> Iterator[Chosen]:
    """Draws without end; it ends where the space seems exhausted. The same *seed* gives the same points, on any machine."""
    chance = random.Random(seed)
    known: set[tuple[str, ...]] = set()
    while True:
        for _ in range(_DRAWS):
            drawn = tuple(dimension.drawn(chance) for dimension in dimensions)
            if drawn not in known:
                break
        else:
            return
        known.add(drawn)
        yield {d.key: text if d.choices else float(text.partition("=")[2]) for d, text in zip(dimensions, drawn, strict=True)}
