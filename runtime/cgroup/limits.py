"""What a process tree may use, and what it used: data only; `cgroup.py` writes and reads the files."""

from __future__ import annotations

from runtime.light_typing import NamedTuple


class Limits(NamedTuple):
    """None = no limit. `cpus` may be fractional (CFS quota)."""

    memory_bytes: int | None = None
    cpus: float | None = None
    pids: int | None = 32768


class Usage(NamedTuple):
    """What the process tree used so far. None: not told here (docs/guides/running.md, "What a run used")."""

    peak_memory_bytes: int | None = None
    """All processes together, page cache included."""
    peak_process_bytes: int | None = None
    """The largest process that has ended, resident: what is known without a cgroup, too."""
    peak_swap_bytes: int | None = None
    cpu_s: float | None = None
    cpu_throttled_s: float | None = None
    """For how long the limit of CPUs held it back."""
    oom_kills: int = 0
    memory_bytes: int | None = None
    """Now."""
    peak_pids: int | None = None
    """Most threads at once: that is what the limit counts."""
    io_read_bytes: int | None = None
    io_written_bytes: int | None = None
    cpu_waited_s: float | None = None
    """For how long at least one thread stood still for want of a CPU; the same for memory and for disks."""
    memory_waited_s: float | None = None
    io_waited_s: float | None = None
