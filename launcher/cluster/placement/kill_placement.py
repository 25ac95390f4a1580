"""End every process of a placement on this machine: its supervisor, what that has forked, its container."""

from __future__ import annotations

import os
import select
import signal
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from launcher.journal import journal
from runtime.kernel.process_identity import is_same_process

_KILLED_WITHIN_S = 10.0


def kill_placement(events: Sequence[journal.Event]) -> bool:
    """*events* are the placement's, from `placed` on. False when something of it is still there after ten seconds."""
    placed = events[0]
    pids = _family(placed.get("pid")) if is_same_process(placed.get("pid"), placed.get("pid_started")) else []
    started = next((event for event in reversed(events) if event.name == "started"), None)
    # Of init the journal knows, too: it outlives a supervisor that was killed alone.
    if started is not None and is_same_process(started.get("init_pid"), started.get("init_started")):
        pids += _family(started.get("init_pid"))
    return _killed(pids)


def _family(pid: int) -> list[int]:
    """*pid* and all of its descendants but ourselves, none of which runs on: one that runs may fork."""
    with suppress(ProcessLookupError):
        if pid != os.getpid():
            os.kill(pid, signal.SIGSTOP)
    found = [pid] if pid != os.getpid() else []
    for child in _children(pid):
        found += _family(child)
    return found


def _children(pid: int) -> list[int]:
    """proc_pid_task(5), `children`: of its first thread, which forks all that ours do."""
    try:
        return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except (FileNotFoundError, ProcessLookupError):
        return []


def _killed(pids: Sequence[int]) -> bool:
    left: list[int] = []
    for pid in pids:
        with suppress(ProcessLookupError):
            descriptor = os.pidfd_open(pid)
            left.append(descriptor)
            signal.pidfd_send_signal(descriptor, signal.SIGKILL)
    deadline = time.monotonic() + _KILLED_WITHIN_S
    try:
        return all(select.select([each], [], [], max(0.0, deadline - time.monotonic()))[0] for each in left)
    finally:
        for each in left:
            os.close(each)
