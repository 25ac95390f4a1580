"""How the points of a sweep are chosen: what every search can do. The searches are `listed_search.py` and `optuna_search.py`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from launcher.sweep.ending import End

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
