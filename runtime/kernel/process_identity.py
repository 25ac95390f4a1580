"""Which process is meant, when its number may have been given to another one since."""

from __future__ import annotations

from functools import cache


def start_time(pid: int) -> int:
    """When process *pid* started, in clock ticks since boot (proc_pid_stat(5), field 22); -1 when there is none, or a zombie."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            after_name = file.read().rpartition(b")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return -1
    return -1 if after_name[0] in (b"Z", b"X") else int(after_name[19])


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


@cache
def _boot() -> str:
    """What tells this boot of the machine from the others."""
    try:
        with open("/proc/sys/kernel/random/boot_id") as file:
            return file.read()[:8]
    except OSError:
        return ""
