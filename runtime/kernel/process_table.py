"""The processes below one process, from /proc (proc_pid_stat(5), proc_pid_status(5)): those of a container, seen from outside;
and what went through their disks and network.

In a PID namespace every orphan becomes a child of init, so the tree below init is the whole container, cgroups or not.
"""

from __future__ import annotations

import os
from pathlib import Path

from runtime.light_typing import NamedTuple

_TICKS = os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")
_SENT = 8
"""Column of the bytes sent in net/dev: eight of what was received stand before it."""


class ProcessFacts(NamedTuple):
    """One process."""

    pid: int
    """As we see it."""
    parent: int
    pid_inside: int
    """As it sees itself, in the innermost PID namespace."""
    uid: int
    """As we see it."""
    state: str
    threads: int
    cpu_s: float
    memory_bytes: int
    """Resident."""
    command: str


def tree_below(root: int, *, proc: Path = Path("/proc")) -> list[ProcessFacts]:
    """*root* and all its descendants, parents first; empty when it is gone."""
    children: dict[int, list[int]] = {}
    for name in os.listdir(proc):
        if name.isdigit() and (parent := parent_of(int(name), proc=proc)) is not None:
            children.setdefault(parent, []).append(int(name))
    found: list[ProcessFacts] = []
    waiting = [root]
    while waiting:
        pid = waiting.pop(0)
        facts = _facts(proc, pid)
        if facts is not None:
            found.append(facts)
            waiting += sorted(children.get(pid, []))
    return found


def io_bytes(pid: int, *, proc: Path = Path("/proc")) -> tuple[int, int] | None:
    """Read from and written to disks by process *pid* and its children that were waited for (proc_pid_io(5)); None when it is
    gone or not ours to look at."""
    try:
        lines = (proc / str(pid) / "io").read_text().splitlines()
    except OSError:
        return None
    counts = {name: int(value) for name, _, value in (line.partition(": ") for line in lines)}
    return counts.get("read_bytes", 0), counts.get("write_bytes", 0)


class Traffic(NamedTuple):
    """Bytes through the links of a network namespace, all but the loopback, since the links were made."""

    received_bytes: int
    sent_bytes: int


def read_traffic(pid: int, *, proc: Path = Path("/proc")) -> Traffic | None:
    """The traffic of the network namespace of *pid* (proc_pid_net(5), `dev`); None when there is no such process, or no link that
    leads out."""
    try:
        lines = (proc / str(pid) / "net/dev").read_text().splitlines()[2:]
    except OSError:
        return None
    links = [(name.strip(), counters.split()) for name, _, counters in (line.partition(":") for line in lines)]
    outward = [counters for name, counters in links if name != "lo"]
    if not outward:
        return None
    return Traffic(sum(int(counters[0]) for counters in outward), sum(int(counters[_SENT]) for counters in outward))


def parent_of(pid: int, *, proc: Path = Path("/proc")) -> int | None:
    """The parent of process *pid*; None when there is no such process."""
    fields = _stat_fields(proc / str(pid))
    return None if fields is None else int(fields[1])


def _stat_fields(directory: Path) -> list[str] | None:
    """The fields from the state on; the name before it may hold anything."""
    try:
        return (directory / "stat").read_text(errors="replace").rpartition(")")[2].split()
    except OSError:  # gone meanwhile
        return None


def _facts(proc: Path, pid: int) -> ProcessFacts | None:
    directory = proc / str(pid)
    fields = _stat_fields(directory)
    try:
        status = dict(
            line.split(":", 1) for line in (directory / "status").read_text(errors="replace").splitlines() if ":" in line
        )
        command = (directory / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
    except OSError:
        return None
    if fields is None:
        return None
    return ProcessFacts(
        pid=pid,
        parent=int(fields[1]),
        pid_inside=int(status.get("NSpid", str(pid)).split()[-1]),
        uid=int(status["Uid"].split()[1]),
        state=fields[0],
        threads=int(fields[17]),
        cpu_s=(int(fields[11]) + int(fields[12])) / _TICKS,
        memory_bytes=int(fields[21]) * _PAGE,
        command=command or f"[{status['Name'].strip()}]",
    )
