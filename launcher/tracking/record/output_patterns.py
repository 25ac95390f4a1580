"""Metrics in what a program prints: `metrics.patterns: {loss: 'loss=([0-9.]+)'}`.

The first place of a line that a pattern fits counts. Which groups a pattern may have is `config/metric_pattern.py`; without a
step a report is the next one of its metric.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from launcher.config.metric_pattern import value_group
from launcher.tracking.metrics.metric_log import STEP_MAX, Sighting

# A pattern is somebody's own, and may take very long on a very long line.
_LINE_MAX = 16 << 10


class OutputPatterns:
    """Compiled once a run."""

    def __init__(self, patterns: Mapping[str, str]) -> None:
        compiled = {key: re.compile(pattern) for key, pattern in patterns.items()}
        self._patterns = [(key, pattern, value_group(pattern)) for key, pattern in compiled.items()]

    def in_line(self, line: bytes) -> Iterator[Sighting]:
        """The metrics that *line* holds. Raises ValueError for a match that is no number."""
        text = line[:_LINE_MAX].decode(errors="replace").rstrip("\n")
        for key, pattern, group in self._patterns:
            found = pattern.search(text)
            if found is not None and found[group] is not None:
                yield Sighting(key, _number(key, found[group]), _step(found.groupdict().get("step")))


def _number(key: str, text: str) -> float:
    try:
        return float(text.rstrip("."))  # the end of a sentence is no part of a number, though `[0-9.]+` fits it
    except ValueError:
        raise ValueError(f"`{text}` is no number for `{key}`") from None


def _step(text: str | None) -> int | None:
    if text is None:
        return None
    step = int(text)
    return step if abs(step) <= STEP_MAX else None
