"""Whose a process is that the driver names: its user, its command, and the run of ours that it belongs to."""

from __future__ import annotations

import pwd
import re
from collections.abc import Mapping
from pathlib import Path

from launcher.schedule.foreign_use import ProcessOwner
from runtime.gpu.roots import Roots
from runtime.kernel.id_maps import owner_of_sub_id
from runtime.kernel.process_table import parent_of

_CGROUP = re.compile(r"/launch-([0-9a-f]{6,})(?:/|$)", re.MULTILINE)
_UID = re.compile(r"^Uid:\s+(\d+)", re.MULTILINE)
_DEEPEST = 64


def owner_of(pid: int, supervisors: Mapping[int, str], roots: Roots) -> ProcessOwner | None:
    """Process *pid*; None when there is none. *supervisors*: pid → its run, for machines on which runs have no cgroup."""
    proc = roots.proc / "proc"
    directory = proc / str(pid)
    try:
        uid = _UID.search((directory / "status").read_text())
        command = (directory / "cmdline").read_bytes().split(b"\0")[0].decode(errors="replace")
        by_cgroup = _CGROUP.search((directory / "cgroup").read_text())
    except OSError:
        return None
    if not command:  # a zombie: it has ended, and only its parent doesn't know yet
        return None
    run = by_cgroup[1] if by_cgroup else _run_by_descent(pid, supervisors, proc)
    return ProcessOwner(user_name(int(uid[1])) if uid else "somebody", Path(command).name, run)


def _run_by_descent(pid: int, supervisors: Mapping[int, str], proc: Path) -> str | None:
    ancestor: int | None = pid
    for _ in range(_DEEPEST):
        if not ancestor or ancestor in supervisors:
            return supervisors.get(ancestor or 0)
        ancestor = parent_of(ancestor, proc=proc)
    return None


def user_name(uid: int) -> str:
    """The user's name; for an id that only a user namespace gives, the name of whoever has it in their range."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        pass
    try:
        return owner_of_sub_id(Path("/etc/subuid").read_text(), uid) or str(uid)
    except OSError:
        return str(uid)
