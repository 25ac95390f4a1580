"""End every process of a placement on this machine: its supervisor, what that has forked, its container."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from launcher.journal.placement import Placement
from runtime.kernel import processes
from runtime.kernel.process_identity import is_same_process

_KILLED_WITHIN_S = 10.0


def kill_placement(placement: Placement) -> bool:
    """False when something of *placement* is still there after ten seconds."""
    placed, started = placement.placed, placement.started
    pids: list[int] = []
    if placed.pid is not None and is_same_process(placed.pid, placed.pid_started):
        pids += _stop_family(placed.pid)
    # Of init the journal knows, too: it outlives a supervisor that was killed alone.
    if started is not None and started.init_pid is not None and is_same_process(started.init_pid, started.init_started):
        pids += _stop_family(started.init_pid)
    return _kill(pids)


def _stop_family(pid: int) -> list[int]:
    """*pid* and all of its descendants but ourselves, none of which runs on: one that runs may fork."""
    with suppress(ProcessLookupError):
        if pid != os.getpid():
            os.kill(pid, signal.SIGSTOP)
    family = [pid] if pid != os.getpid() else []
    for child in _children(pid):
        family += _stop_family(child)
    return family


def _children(pid: int) -> list[int]:
    """proc_pid_task(5), `children`: of its first thread, which forks all that ours do."""
    try:
        return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except (FileNotFoundError, ProcessLookupError):
        return []


def _kill(pids: Sequence[int]) -> bool:
    """Whether all of them have ended in time."""
    pidfds: list[int] = []
    for pid in pids:
        with suppress(ProcessLookupError):
            pidfds.append(os.pidfd_open(pid))
            processes.send_signal(pidfds[-1], signal.SIGKILL)
    deadline = time.monotonic() + _KILLED_WITHIN_S
    try:
        return all(processes.wait_ended(pidfd, timeout_s=max(0.0, deadline - time.monotonic())) for pidfd in pidfds)
    finally:
        for pidfd in pidfds:
            os.close(pidfd)
