"""What a cgroup used: reads the files of v1 and v2, whichever a controller is in. Limits are `v1.py`'s and `v2.py`'s."""

from __future__ import annotations

from pathlib import Path

from runtime.cgroup.control_file import read_keyed, read_number
from runtime.cgroup.limits import Usage


def oom_kills(controllers: dict[str, Path]) -> int:
    """How many processes the kernel killed because the memory limit was reached.

    v1: `memory.failcnt` stays 0 through an OOM kill and the eventfd fires on rmdir too: only this counter tells the truth.
    """
    memory = controllers.get("memory")
    if memory is None:
        return 0
    counted = read_keyed(memory / "memory.events", "oom_kill")
    if counted is None:
        counted = read_keyed(memory / "memory.oom_control", "oom_kill")
    return counted or 0


def usage(controllers: dict[str, Path], unified: Path | None) -> Usage:
    """Everything at once. `memory.peak` is missing before 5.19, `cpu.stat` needs no controller on v2."""
    memory = controllers.get("memory")
    current: int | None = None
    peak: int | None = None
    if memory is not None:
        if (current := read_number(memory / "memory.current")) is not None:
            peak = read_number(memory / "memory.peak")
        else:
            current = read_number(memory / "memory.usage_in_bytes")
            peak = read_number(memory / "memory.max_usage_in_bytes")
    return Usage(
        peak_memory_bytes=peak,
        cpu_s=_cpu_s(controllers.get("cpuacct"), unified),
        oom_kills=oom_kills(controllers),
        memory_bytes=current,
    )


def _cpu_s(cpuacct: Path | None, unified: Path | None) -> float | None:
    if cpuacct is not None and (used_ns := read_number(cpuacct / "cpuacct.usage")) is not None:
        return used_ns / 1e9
    if unified is not None and (used_us := read_keyed(unified / "cpu.stat", "usage_usec")) is not None:
        return used_us / 1e6
    return None
