"""Which process is meant, when its number may have been given to another one since."""

from __future__ import annotations

import os
import time
from functools import cache

_SIGKILL = 1 << 8
"""As /proc shows a set of signals."""

_PF_EXITING, _PF_SIGNALED = 0x4, 0x400
"""Flags of a task that ends, and of one that a signal ends (include/linux/sched.h)."""


def start_time(pid: int) -> int:
    """When process *pid* started, in clock ticks since boot (proc_pid_stat(5), field 22); -1 when there is none, or a zombie."""
    after_name = _stat(pid)
    return -1 if after_name is None or after_name[0] in (b"Z", b"X") else int(after_name[19])


def age_s(pid: int) -> float:
    """For how long process *pid* has been there, to the clock tick (10 ms)."""
    return time.clock_gettime(time.CLOCK_BOOTTIME) - start_time(pid) / os.sysconf("SC_CLK_TCK")


def is_stopped(pid: int, started: str | None) -> bool:
    """Whether the process *pid* that started at *started* was stopped (SIGSTOP): it does nothing until somebody lets it go on."""
    after_name = _stat(pid)
    return after_name is not None and after_name[0] == b"T" and is_same_process(pid, started)


def is_ending(pid: int) -> bool:
    """Whether process *pid* has ended, or was killed and still has to. As long as it waits for a busy disk (SIGKILL is among its
    pending signals then) or gives back its memory, it keeps its files, and the locks on them (proc_pid_stat(5), fields 3, 9, 31).
    """
    after_name = _stat(pid)
    if after_name is None:
        return True
    state, flags, pending = after_name[0], int(after_name[6]), int(after_name[28])
    return state in (b"Z", b"X") or bool(flags & (_PF_EXITING | _PF_SIGNALED)) or bool(pending & _SIGKILL)


def process_started(pid: int) -> str | None:
    """When a living process started: which boot, and clock ticks since; None when there is none."""
    ticks = start_time(pid)
    return None if ticks < 0 else f"{_boot()}+{ticks}"


def is_same_process(pid: int | None, started: str | None) -> bool:
    """Whether the process *pid* that started at *started* still runs; a reused number doesn't count."""
    if pid is None:
        return False
    now = process_started(pid)
    return now is not None and (started is None or now == started)


def _stat(pid: int) -> list[bytes] | None:
    """The fields of proc_pid_stat(5) from the state on, since the name before it may hold anything; None when it is gone."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return file.read().rpartition(b")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None


@cache
def _boot() -> str:
    """What tells this boot of the machine from the others."""
    try:
        with open("/proc/sys/kernel/random/boot_id") as file:
            return file.read()[:8]
    except OSError:
        return ""
