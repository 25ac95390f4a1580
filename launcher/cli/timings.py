"""`--timings`: where the time of a command went, phase by phase, from Enter to its end; the phases add up to the wall clock.

The command's own phases are measured here; those of the supervisor are read from the journal's timestamps.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import ClassVar

from launcher.journal.events import Created, Entry, Finished, FirstOutput, Leased, Placed, Started, Submitted
from runtime.kernel.process_identity import age_s

_OF_A_RUN = (
    ("create", Created),
    ("submit", Submitted),
    ("line", Placed),
    ("lease", Leased),
    ("start", Started),
    ("first output", FirstOutput),
    ("run", Finished),
)
"""Phases that end with an event of the journal, in their order; a run has not all of them."""


class Timings:
    """Phases in order, each from the end of the one before. The first, `command`, is from Enter to the command's work: Python's
    start and imports, or a warm helper's fork."""

    typed: ClassVar[int | None] = None
    """The process that was typed, where it isn't this one: the client of a warm helper."""

    def __init__(self) -> None:
        self.phases: dict[str, float] = {}
        self._began = self._until = time.time() - age_s(Timings.typed or os.getpid())
        self._first_line: float | None = None

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        if not self.phases:
            self._end("command", time.time())
        try:
            yield
        finally:
            self._end(name, time.time())

    def split(self, name: str, part: str, seconds: float) -> None:
        """Of phase *name*, *seconds* were *part*."""
        self.phases[name] -= seconds
        self.phases[part] = seconds

    def add_run(self, entries: Sequence[Entry], *, ended_at: float) -> None:
        """What the journal of the run says, and until the command's end `record`."""
        at = {type(entry.event): entry.at for entry in reversed(entries)}
        for name, event in _OF_A_RUN:
            if event in at:
                self._end(name, at[event])
            if event is FirstOutput and event in at:
                self._first_line = self._until - self._began
        self._end("record", ended_at)

    def lines(self) -> list[str]:
        """The phases, and behind them their sums: to the program's first output, and to the end."""
        rows = list(self.phases.items())
        if self._first_line is not None:
            rows.append(("= to the first output", self._first_line))
        rows.append(("= together", self._until - self._began))
        width = max(len(name) for name, _seconds in rows)
        return [f"{name:<{width}}  {seconds:8.3f} s" for name, seconds in rows]

    def _end(self, name: str, at: float) -> None:
        self.phases[name] = self.phases.get(name, 0.0) + at - self._until
        self._until = at
