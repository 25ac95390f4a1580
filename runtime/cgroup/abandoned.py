"""Cgroups whose maker was killed before it could remove them: found by name, since nobody has a record of them.

For containers that end with their maker (build steps). A run's cgroup outlives its supervisor; the journal names it.
"""

from __future__ import annotations

import os
import re
from contextlib import suppress
from pathlib import Path

from runtime.cgroup.cgroup import Cgroup

_OURS = re.compile(r"launch-.+\.(\d+)-(\d+)")


def own_name(container_id: str) -> str:
    """A name for a cgroup that says who made it: `launch-ID.PID-STARTED`, where STARTED tells a reused PID."""
    pid = os.getpid()
    return f"launch-{container_id}.{pid}-{_started(pid)}"


def sweep_beside(cgroup: Cgroup) -> int:
    """Remove abandoned cgroups in the directories that *cgroup* was made in; how many directories."""
    swept = 0
    for parent in {directory.parent for directory in cgroup.directories}:
        for name in os.listdir(parent):
            match = _OURS.fullmatch(name)
            if match is not None and _started(int(match[1])) != int(match[2]):
                # Refused while processes are dying in it, or when another sweeper was faster: the next one comes.
                with suppress(OSError):
                    os.rmdir(parent / name)
                    swept += 1
    return swept


def _started(pid: int) -> int:
    """When process *pid* started, in clock ticks since boot (proc_pid_stat(5), field 22); -1 when there is none."""
    try:
        after_name = Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return -1
    return -1 if after_name[0] in "ZX" else int(after_name[19])
