"""A container without a program of its own: it stays for those who run theirs in it, until it is told to end or nobody uses it.

It is in use while somebody types at one of its terminals or reads there, while its processes compute, and when somebody comes in.
A shell at its prompt or an editor's server in the background is no use. Part of init: nothing may be imported here later.
"""

from __future__ import annotations

import os
import resource
import time
from contextlib import suppress

_BUSY = 0.05
"""Share of a core from which processes compute: servers that wait for an editor look around now and then."""
_MOST_BETWEEN_LOOKS_S = 60.0
_WITHOUT_GPUS_S = 1.0
_TERMINALS = "/dev/pts"
_TICKS = os.sysconf("SC_CLK_TCK")


class Stay:
    """How long a container stays; *idle_s*: without use, None is for ever; *gpu_idle_s*: without use, its GPUs. Seconds are those
    of `time.monotonic`."""

    def __init__(self, idle_s: float | None, gpu_idle_s: float | None = None) -> None:
        self._idle_s = idle_s
        self._gpu_idle_s = gpu_idle_s
        self.has_gpus = True
        """While it has none, whoever uses it waits for them."""
        self._used_at = self._looked_at = time.monotonic()
        self._touched_at = 0.0
        self._computed_s = 0.0
        self.ended_by: int | None = None
        """The signal that told it to end; 0: nobody used it."""
        self.leave_by: float | None = None
        """When those in it are killed who have not left."""

    @property
    def is_ending(self) -> bool:
        return self.ended_by is not None

    def use(self) -> None:
        """Somebody comes in."""
        self._used_at = time.monotonic()

    @property
    def next_look_at(self) -> float | None:
        if self.is_ending:
            return self.leave_by
        limits = [limit for limit in (self._idle_s, self._gpu_idle_s) if limit is not None]
        if not limits:
            return None
        return self._looked_at + (
            min(_MOST_BETWEEN_LOOKS_S, *(limit / 4 for limit in limits)) if self.has_gpus else _WITHOUT_GPUS_S
        )

    @property
    def is_unused(self) -> bool:
        """Whether nobody has used it for so long that its GPUs are better given back."""
        return self._gpu_idle_s is not None and time.monotonic() - self._used_at >= self._gpu_idle_s

    def end(self, number: int) -> None:
        """Somebody tells it to end, by signal *number*."""
        self.ended_by = number

    def look(self) -> bool:
        """Where a look is due, find out whether it was used since the last one, and end when it was not for too long. Whether it
        was due."""
        due = self.next_look_at
        if self.is_ending or due is None or time.monotonic() < due:
            return False
        now, touched_at, computed_s = time.monotonic(), last_touch(), computed()
        if touched_at != self._touched_at or computed_s - self._computed_s > _BUSY * (now - self._looked_at):
            self._used_at = now
        self._looked_at, self._touched_at, self._computed_s = now, touched_at, computed_s
        if self._idle_s is not None and now - self._used_at >= self._idle_s:
            self.ended_by = 0
        return True


def last_touch() -> float:
    """When a terminal of this container was last written to or read from (tty(4): to within 8 seconds), in Unix seconds."""
    with suppress(OSError), os.scandir(_TERMINALS) as terminals:
        looks = (terminal.stat() for terminal in terminals if terminal.name.isdigit())
        return max((max(look.st_atime, look.st_mtime) for look in looks), default=0.0)
    return 0.0


def computed() -> float:
    """CPU seconds of every process of this container but init, also of those that init has reaped."""
    reaped = resource.getrusage(resource.RUSAGE_CHILDREN)
    own = str(os.getpid())
    return reaped.ru_utime + reaped.ru_stime + sum(_cpu_s(pid) for pid in os.listdir("/proc") if pid.isdigit() and pid != own)


def _cpu_s(pid: str) -> float:
    """With its children that it has waited for (proc_pid_stat(5): utime to cstime)."""
    with suppress(OSError, ValueError), open(f"/proc/{pid}/stat") as stat:
        return sum(map(int, stat.read().rpartition(")")[2].split()[11:15])) / _TICKS
    return 0.0
