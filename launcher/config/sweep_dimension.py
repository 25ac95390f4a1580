"""One key of a sweep's space and what it may be: a list of values, or an interval. Plain values; read by `sweep_space.py`."""

from __future__ import annotations

import math
import random
from typing import Any

from launcher.errors import Origin
from runtime.light_dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Dimension:
    """Values of *key*: `choices`, or everything from `low` to `high`. A range (`range(1, 50)`) is both."""

    key: str
    origin: Origin | None = None
    choices: tuple[str, ...] = ()
    """Each as the override that sets it: `params.lr=0.1`."""
    values: tuple[Any, ...] = ()
    """What each choice sets."""
    low: float | None = None
    high: float | None = None
    """Both ends belong to it."""
    step: float | None = None
    integer: bool = False
    log: bool = False

    @property
    def is_interval(self) -> bool:
        """Whether it cannot be enumerated."""
        return not self.choices

    @property
    def first(self) -> str:
        """The first choice, or the lower end, as an override."""
        return self.choices[0] if self.choices else self.assignment(self.low or 0)

    def assignment(self, value: float | str) -> str:
        """The override that sets *value*: a choice, or a number of the interval, rounded to six digits and kept inside."""
        if isinstance(value, str):
            return value
        if self.low is None or self.high is None:
            raise ValueError(f"`{self.key}` has no interval")
        if self.integer:
            return f"{self.key}={round(value)}"
        # Six digits can be read and typed again; repr keeps a float a float (`1.0`). Rounding must not leave the interval.
        return f"{self.key}={min(max(float(f'{value:.6g}'), float(self.low)), float(self.high))!r}"

    def drawn(self, chance: random.Random) -> str:
        """A random one, as an override."""
        if self.choices:
            return chance.choice(self.choices)
        low, high = float(self.low or 0), float(self.high or 0)
        value = math.exp(chance.uniform(math.log(low), math.log(high))) if self.log else chance.uniform(low, high)
        return self.assignment(value)

    def find(self, value: Any) -> float | str | None:
        """*value* as one of this dimension: the choice that sets it, or the number; None when it is outside."""
        for choice, known in zip(self.choices, self.values, strict=True):
            if known == value and isinstance(known, bool) is isinstance(value, bool):
                return choice
        if self.is_interval and isinstance(value, int | float) and not isinstance(value, bool):
            inside = float(self.low or 0) <= value <= float(self.high or 0)
            return float(value) if inside and (not self.integer or float(value).is_integer()) else None
        return None
