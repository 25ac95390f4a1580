"""Which process is meant, when its number may have been given to another one since."""

from __future__ import annotations

from functools import cache


def process_started(pid: int) -> str | None:
    """When a living process started: which boot, and clock ticks since (proc_pid_stat(5), field 22); None when there is none."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            after_name = file.read().rpartition(b")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return None if after_name[0] in (b"Z", b"X") else f"{_boot()}+{int(after_name[19])}"


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
