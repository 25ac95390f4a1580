"""When to ask an engine again how jobs stand: a controller has thousands of them to answer for."""

from __future__ import annotations

import time

_SHORTEST_S, _LONGEST_S = 1.0, 10.0
_GROWTH = 1.5


class QuestionPace:
    """The first question is due in a second, each later one after half as long again, up to ten."""

    def __init__(self) -> None:
        self._pause_s = _SHORTEST_S
        self._due_at = time.monotonic() + _SHORTEST_S

    def is_due(self) -> bool:
        return time.monotonic() >= self._due_at

    def asked(self) -> None:
        """A question was put, whether it was answered or not."""
        self._pause_s = min(_LONGEST_S, self._pause_s * _GROWTH)
        self._due_at = time.monotonic() + self._pause_s

    def news(self) -> None:
        """Something has happened of which the engine will know in a moment: from here on as at first."""
        self._pause_s, self._due_at = _SHORTEST_S, time.monotonic() + _SHORTEST_S

    def at_once(self) -> None:
        """The next question is due, and the pauses after it are as at first."""
        self._pause_s, self._due_at = _SHORTEST_S, 0.0
