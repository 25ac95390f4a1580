"""What a process tree may use, and what it used: data only; `cgroup.py` writes and reads the files."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """None = no limit. `cpus` may be fractional (CFS quota)."""

    memory_bytes: int | None = None
    cpus: float | None = None
    pids: int | None = 32768


@dataclass(frozen=True, slots=True)
class Usage:
    """What the process tree used so far."""

    peak_memory_bytes: int | None = None
    cpu_s: float | None = None
    oom_kills: int = 0
    memory_bytes: int | None = None
