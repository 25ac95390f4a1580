"""A container without a program of its own: it stays for those who run theirs in it, until it is told to end or nobody uses it.

It is in use while somebody types at one of its terminals or reads there, while its processes compute, and when somebody comes in.
A shell at its prompt or an editor's server in the background is no use. Part of init: nothing may be imported here later.
"""

from __future__ import annotations

import os
import resource
import time
from collections.abc import Sequence
from contextlib import suppress

from runtime.rootfs.gpu_nodes import GpuNodes

_BUSY = 0.05
"""Share of a core from which processes compute: servers that wait for an editor look around now and then."""
_LEAST_BETWEEN_LOOKS_S, _MOST_BETWEEN_LOOKS_S = 0.25, 60.0
_WITHOUT_GPUS_S = 1.0
_TERMINALS = "/dev/pts"
_TICKS = os.sysconf("SC_CLK_TCK")


class Stay:
    """How long a container stays; *idle_s*: without use, None is for ever; *gpu_idle_s*: without use, its GPUs. Seconds are those
    of `time.monotonic`."""

    def __init__(self, idle_s: float | None, gpu_idle_s: float | None = None, gpus: GpuNodes | None = None) -> None:
        self._idle_s = idle_s
        self._gpu_idle_s = gpu_idle_s
        self.gpus = gpus
        """Where it may give them back."""
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
        if self.gpus is not None and self.gpus.state != "held":
            return self._looked_at + _WITHOUT_GPUS_S  # whoever uses it waits for them
        limits = [limit for limit in (self._idle_s, self._gpu_idle_s) if limit is not None]
        if not limits:
            return None
        return self._looked_at + max(_LEAST_BETWEEN_LOOKS_S, min(_MOST_BETWEEN_LOOKS_S, *(limit / 4 for limit in limits)))

    def end(self, number: int) -> None:
        """Somebody tells it to end, by signal *number*."""
        self.ended_by = number

    def regain_gpus(self, lease: Sequence[int]) -> None:
        """They are its own again, by the descriptors *lease*."""
        if self.gpus is not None:
            self.gpus.open(lease)
            self.use()

    def look(self) -> str | None:
        """End when nobody used it for too long, or before that give its GPUs back, and want them again at the next use. The new
        state of its GPUs, when it is another now."""
        was_due, gpus = self._look_for_use(), self.gpus
        if gpus is None or self.is_ending:
            return None
        is_unused = self._gpu_idle_s is not None and time.monotonic() - self._used_at >= self._gpu_idle_s
        if gpus.state == "held":
            return gpus.state if was_due and is_unused and gpus.close() else None
        if gpus.state == "given back" and not is_unused:
            gpus.state = "wanted"
            return gpus.state
        return None

    def _look_for_use(self) -> bool:
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
