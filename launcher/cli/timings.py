"""`--timings`: the seconds of each phase, from the command's start to the record.

The command's own phases are measured here; those of the supervisor are read from the journal's timestamps.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from launcher.journal.events import Entry, Finished, FirstOutput, Leased, Placed, Started, Submitted


class Timings:
    """Phases in order. `import` is the time from the process's start to the first line of the command."""

    def __init__(self) -> None:
        self.phases: dict[str, float] = {"import": time.time() - process_started_at()}

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        begun = time.perf_counter()
        try:
            yield
        finally:
            self.phases[name] = self.phases.get(name, 0.0) + time.perf_counter() - begun

    def split(self, name: str, part: str, seconds: float) -> None:
        """Of phase *name*, *seconds* were *part*."""
        self.phases[name] -= seconds
        self.phases[part] = seconds

    def add_run(self, entries: Sequence[Entry], *, handed_over_at: float, ended_at: float) -> None:
        """lease, start, first output, run and record, from the journal of the run; of a cluster's also submit and line."""
        at: dict[type, float] = {type(entry.event): entry.at for entry in reversed(entries)}
        if Submitted in at:
            self.phases["submit"] = at[Submitted] - handed_over_at
            self.phases["line"] = at.get(Placed, ended_at) - at[Submitted]
            handed_over_at = at.get(Placed, ended_at)
        start, first = at.get(Started), at.get(FirstOutput)
        finished = at.get(Finished, ended_at)
        self.phases["lease"] = at.get(Leased, handed_over_at) - handed_over_at
        if start is not None:
            self.phases["start"] = start - at.get(Leased, handed_over_at)
            if first is not None:
                self.phases["first output"] = first - start
            self.phases["run"] = finished - start
        self.phases["record"] = ended_at - finished

    def lines(self) -> list[str]:
        width = max(map(len, self.phases))
        return [f"{name:<{width}}  {seconds:8.3f} s" for name, seconds in self.phases.items()]


def process_started_at() -> float:
    """When this process was started, in Unix seconds, to the clock tick (10 ms): proc(5), /proc/pid/stat field 22."""
    with open("/proc/self/stat") as file:
        ticks = int(file.read().rpartition(")")[2].split()[19])
    with open("/proc/uptime") as file:
        uptime = float(file.read().split()[0])
    return time.time() - (uptime - ticks / os.sysconf("SC_CLK_TCK"))
