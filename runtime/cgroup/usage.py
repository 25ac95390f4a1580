"""What a cgroup used: reads the files of v1 and v2, whichever a controller is in. Limits are `limit_files.py`'s."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from runtime.cgroup.control_file import read_keyed, read_number, read_value
from runtime.cgroup.limits import Usage
from runtime.cgroup.oom import oom_kills


def usage(controllers: Mapping[str, Path], unified: Path | None) -> Usage:
    """Everything at once. A value that this kernel, or this layout of hierarchies, doesn't tell is None."""
    memory, pids = controllers.get("memory"), controllers.get("pids")
    current, peak, peak_swap = _memory_bytes(memory)
    io_read, io_written = _io_bytes(controllers.get("io"))
    waited = waited_s(unified)
    return Usage(
        peak_memory_bytes=peak,
        peak_swap_bytes=peak_swap,
        cpu_s=_cpu_s(controllers.get("cpuacct"), unified),
        cpu_throttled_s=_cpu_throttled_s(controllers.get("cpu")),
        oom_kills=oom_kills(memory),
        memory_bytes=current,
        peak_pids=read_number(pids / "pids.peak") if pids is not None else None,
        io_read_bytes=io_read,
        io_written_bytes=io_written,
        cpu_waited_s=waited.get("cpu"),
        memory_waited_s=waited.get("memory"),
        io_waited_s=waited.get("io"),
    )


def _memory_bytes(memory: Path | None) -> tuple[int | None, int | None, int | None]:
    """Now, at most, and at most in swap: `memory.peak` came with 5.19, `memory.swap.peak` with 6.5."""
    if memory is None:
        return None, None, None
    if (current := read_number(memory / "memory.current")) is not None:
        return current, read_number(memory / "memory.peak"), read_number(memory / "memory.swap.peak")
    current = read_number(memory / "memory.usage_in_bytes")
    return current, read_number(memory / "memory.max_usage_in_bytes"), None


def _cpu_s(cpuacct: Path | None, unified: Path | None) -> float | None:
    """`cpu.stat` has it on v2 without a controller."""
    if cpuacct is not None and (used_ns := read_number(cpuacct / "cpuacct.usage")) is not None:
        return used_ns / 1e9
    if unified is not None and (used_us := read_keyed(unified / "cpu.stat", "usage_usec")) is not None:
        return used_us / 1e6
    return None


def _cpu_throttled_s(cpu: Path | None) -> float | None:
    """For how long the limit of CPUs held it back; v2 counts in microseconds, v1 in nanoseconds."""
    if cpu is None:
        return None
    if (held_us := read_keyed(cpu / "cpu.stat", "throttled_usec")) is not None:
        return held_us / 1e6
    held_ns = read_keyed(cpu / "cpu.stat", "throttled_time")
    return None if held_ns is None else held_ns / 1e9


def _io_bytes(io: Path | None) -> tuple[int | None, int | None]:
    """Read from and written to all block devices; lines are `8:0 rbytes=90112 wbytes=0 rios=3 ...` (none before the first)."""
    content = read_value(io / "io.stat") if io is not None else None
    if content is None:
        return None, None
    fields = [field.partition("=") for line in content.splitlines() for field in line.split()[1:]]
    read = sum(int(value) for name, _, value in fields if name == "rbytes")
    written = sum(int(value) for name, _, value in fields if name == "wbytes")
    return read, written


def waited_s(unified: Path | None) -> dict[str, float]:
    """Resource → seconds in which at least one process wanted to go on and could not (pressure stall, psi.rst): none where the
    kernel has no CONFIG_PSI or was started with `psi=0`. A hybrid machine has them, too: they need no controller."""
    if unified is None:
        return {}
    found = {resource: _some_total_s(read_value(unified / f"{resource}.pressure") or "") for resource in ("cpu", "memory", "io")}
    return {resource: waited for resource, waited in found.items() if waited is not None}


def _some_total_s(content: str) -> float | None:
    """`some avg10=0.00 avg60=0.00 avg300=0.00 total=1048598`, the total in microseconds since the cgroup was made."""
    for line in content.splitlines():
        kind, *fields = line.split()
        total = next((field.removeprefix("total=") for field in fields if field.startswith("total=")), "")
        if kind == "some" and total.isdigit():
            return int(total) / 1e6
    return None
