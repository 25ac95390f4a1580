"""Whom the kernel killed for want of memory, and where it was short: in the container's own cgroup, an outer one, the machine.

Victims are counted in their own cgroup, whoever ran out. Who did is told by `oom` in `memory.events` on v2: it counts in the
cgroup that reached its limit, not in those below. v1 has no such counter; there the peak has to have come up to the limit.
"""

from __future__ import annotations

from pathlib import Path

from runtime.cgroup.control_file import read_keyed, read_number
from runtime.light_typing import NamedTuple

_NO_LIMIT = 1 << 62
"""v1's word for none is the largest number of pages."""

_CHARGED_AT_ONCE = 4 << 20
"""v1: the kernel charges in batches for each CPU; a peak this close to the limit has met it."""


class OomKills(NamedTuple):
    """Processes that the kernel killed; *limit_bytes* is that of *cgroup*, both None when the whole machine ran out."""

    processes: int
    own: bool = True
    """Whether it was the container's own limit."""
    limit_bytes: int | None = None
    cgroup: Path | None = None

    @property
    def words(self) -> str:
        """`1 of its processes was killed at the memory limit of 64 MiB`."""
        were = f"{self.processes} of its processes {'was' if self.processes == 1 else 'were'} killed"
        if self.limit_bytes is None:
            return f"{were} because this machine ran out of memory"
        limit = f"{were} at the memory limit of {memory_words(self.limit_bytes)}"
        return limit if self.own else f"{limit} that `{self.cgroup}`, around it, has"


def memory_words(size_bytes: int) -> str:
    """As people write `memory`: `64 MiB`, `1.5 GiB`."""
    value = size_bytes / (1 << 20)
    return f"{value:.4g} MiB" if value < 1024 else f"{value / 1024:.4g} GiB"


def oom_kills(memory: Path | None) -> int:
    """How many processes of the cgroup *memory* the kernel killed for want of memory.

    v1: `memory.failcnt` stays 0 through an OOM kill and the eventfd fires on rmdir too: only this counter tells the truth.
    """
    if memory is None:
        return 0
    counted = read_keyed(memory / "memory.events", "oom_kill")
    if counted is None:
        counted = read_keyed(memory / "memory.oom_control", "oom_kill")
    return counted or 0


def explain_oom_kills(memory: Path | None) -> OomKills | None:
    """`oom_kills` with whose limit it was; None when nobody was killed."""
    killed = oom_kills(memory)
    if memory is None or not killed:
        return None
    for directory in (memory, *memory.parents):
        if _ran_out(directory):
            return OomKills(killed, own=directory == memory, limit_bytes=memory_limit(directory), cgroup=directory)
    return OomKills(killed, own=False)


def memory_limit(memory: Path) -> int | None:
    """What the kernel enforces on *memory*; None = nothing."""
    limit = read_number(memory / "memory.max")
    if limit is None:
        limit = read_number(memory / "memory.limit_in_bytes")
    return None if limit is None or limit >= _NO_LIMIT else limit


def kills_on_this_machine(vmstat: Path = Path("/proc/vmstat")) -> int | None:
    """How many processes the kernel has killed for want of memory since it started, in whatever cgroup (4.13)."""
    return read_keyed(vmstat, "oom_kill")


def _ran_out(directory: Path) -> bool:
    """Whether *directory* itself, and nobody above it, was the one without memory at some time."""
    if (limit := memory_limit(directory)) is None:
        return False
    for events in ("memory.events.local", "memory.events"):  # before 5.2 there is only the one with what befell children
        if (hits := read_keyed(directory / events, "oom")) is not None:
            return hits > 0
    return (read_number(directory / "memory.max_usage_in_bytes") or 0) >= limit - _CHARGED_AT_ONCE
