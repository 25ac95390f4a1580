"""Who holds a lock: its file says so, from the moment the holder announces itself. Before that, and after a death, it may name a
dead one. The state directory may be on several machines, where a pid is somebody else's: so the file says which.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from runtime.json_files import json_object
from runtime.kernel.process_identity import is_ending, is_same_process, process_started


def announce_holder(lock_fd: int) -> None:
    """Write who we are into the file of the lock that we hold."""
    told = {"pid": os.getpid(), "started": process_started(os.getpid()), "host": os.uname().nodename}
    os.ftruncate(lock_fd, 0)
    os.pwrite(lock_fd, json.dumps(told).encode(), 0)


def lock_holder(path: Path) -> dict[str, Any]:
    """`pid`, `started` (`process_started`) and `host` of the last one that announced itself; empty before that."""
    return json_object(path)


def is_of_this_machine(holder: dict[str, Any]) -> bool:
    """Of this boot of it, too. True where nobody wrote down when the process started."""
    started = holder.get("started")
    return started is None or str(started).partition("+")[0] == str(process_started(os.getpid())).partition("+")[0]


def is_dying(holder: dict[str, Any]) -> bool:
    """Whether it is a process of this machine that has ended or was killed. Its lock, found held a moment ago, is free now, or
    soon: the process waits for a busy disk, or has just forked one that has not closed what it got."""
    pid = holder.get("pid")
    if pid is None or not is_of_this_machine(holder):
        return False
    return not is_same_process(pid, holder.get("started")) or is_ending(pid)
