"""Bytes that went through the links of a process's network namespace: all but the loopback (proc_pid_net(5), `dev`)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

_LOOPBACK = "lo"
_SENT = 8
"""Column of the bytes sent: eight of what was received stand before it."""


@dataclass(frozen=True, slots=True)
class Traffic:
    """Since the links were made."""

    received_bytes: int
    sent_bytes: int


def read_traffic(pid: int, *, proc: Path = Path("/proc")) -> Traffic | None:
    """The traffic of the namespace of *pid*; None when there is no such process, or no link that leads out."""
    try:
        lines = (proc / str(pid) / "net/dev").read_text().splitlines()[2:]
    except OSError:
        return None
    links = [(name.strip(), counters.split()) for name, _, counters in (line.partition(":") for line in lines)]
    outward = [counters for name, counters in links if name != _LOOPBACK]
    if not outward:
        return None
    return Traffic(sum(int(counters[0]) for counters in outward), sum(int(counters[_SENT]) for counters in outward))
