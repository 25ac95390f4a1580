"""Whose a process is that the driver names: its user, its command, and the run of ours that it belongs to."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from launcher.schedule.strangers import Who
from runtime.gpu.processes import owner_of
from runtime.gpu.roots import Roots
from runtime.kernel.process_table import parent_of

_CGROUP = re.compile(r"/launch-([0-9a-f]{6,})(?:/|$)", re.MULTILINE)
_DEEPEST = 64


def who_is(pid: int, supervisors: Mapping[int, str], roots: Roots) -> Who | None:
    """Process *pid*; None when there is none. *supervisors*: pid → its run, for machines on which runs have no cgroup."""
    owner = owner_of(pid, roots)
    if owner is None:
        return None
    by_cgroup = _CGROUP.search(owner.cgroup)
    name = Path(owner.command.split(" ", 1)[0]).name or "?"
    return Who(owner.user, name, by_cgroup[1] if by_cgroup else _run_by_descent(pid, supervisors, roots.proc / "proc"))


def _run_by_descent(pid: int, supervisors: Mapping[int, str], proc: Path) -> str | None:
    ancestor: int | None = pid
    for _ in range(_DEEPEST):
        if not ancestor or ancestor in supervisors:
            return supervisors.get(ancestor or 0)
        ancestor = parent_of(ancestor, proc=proc)
    return None
