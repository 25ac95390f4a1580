"""Energy of a run's GPUs: the difference of their total counters; where a GPU has none, its power over time. Pure.

A counter counts since the driver was loaded: one that is smaller than before began anew in between.
"""

from __future__ import annotations

from typing import Any

from runtime.light_dataclasses import asdict, dataclass

_LONGEST_STEP_S = 600.0
"""Power from before and after a longer silence says nothing about the time between."""


@dataclass(slots=True)
class EnergyMeter:
    """One GPU. It may be stored and go on with `from_json`."""

    joules: float = 0.0
    counter_j: float | None = None
    power_w: float | None = None
    at_s: float | None = None
    """Unix seconds of the last reading."""
    known: bool = False
    """Whether anything was ever measured."""

    def feed(self, at_s: float, *, counter_j: float | None, power_w: float | None) -> None:
        """A reading at *at_s*."""
        if counter_j is not None:
            if self.counter_j is not None:
                self.joules += counter_j - self.counter_j if counter_j >= self.counter_j else counter_j
                self.known = True
        elif power_w is not None and self.power_w is not None and self.at_s is not None:
            step_s = at_s - self.at_s
            if 0 <= step_s <= _LONGEST_STEP_S:
                self.joules += (power_w + self.power_w) / 2 * step_s
                self.known = True
        # A reading that failed leaves the counter as it was: the next difference covers the gap.
        self.counter_j = self.counter_j if counter_j is None else counter_j
        self.power_w, self.at_s = power_w, at_s

    def begin_anew(self) -> None:
        """Another attempt: what the GPU used since the last reading was not this run's."""
        self.counter_j = self.power_w = self.at_s = None

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, document: dict[str, Any]) -> EnergyMeter:
        return cls(**document)
