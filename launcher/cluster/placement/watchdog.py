"""What watches over a job's supervisor: ends the run when that was killed alone, and both when the run has gone on elsewhere.

On a machine of one's own, init outlives its supervisor and another adopts the run (`run/supervisor/takeover.py`). A job is over
with its first process, and its GPUs are another's a moment later. With proctrack/cgroup Slurm then kills whatever is left; with
proctrack/linuxproc, which knows processes by their parents, init and the program would live on.

A node that Slurm has lost sight of may live, and its job has begun again on another one. Nobody can end this copy but itself: the
watchdog reads the journal twice a second, and a supervisor that hangs in a broken disk or was stopped does not keep it from that.
"""

from __future__ import annotations

import os
import select
import signal
import socket
from contextlib import suppress

from launcher.cluster.placement.kill_placement import kill_placement
from launcher.cluster.placement.quarantine import record_end
from launcher.cluster.placement.requeue_check import is_requeued
from launcher.journal.events import Finished
from launcher.journal.run_journal import Follower, Journal, read_state
from launcher.journal.status import Reason
from launcher.run.supervisor.acquisitions import undo_all
from runtime.file_lock import LockBusy, open_locked
from runtime.state_dir import RunDir

_LOOK_S = 0.5

_OF_THE_NODE = ("network", "cgroup", "scratch")
"""What lies on the node and not in the run's directory, which is another's by now."""


def fork_watchdog(run_dir: RunDir, placement: str) -> None:
    """Fork the watchdog of this process, the supervisor of *placement*."""
    supervisor = os.pidfd_open(os.getpid())
    if os.fork():
        os.close(supervisor)
        return
    try:
        for signum in (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2):
            signal.signal(signum, signal.SIG_IGN)
        _watch(run_dir, placement, supervisor)
    finally:
        os._exit(0)


def _watch(run_dir: RunDir, placement: str, supervisor: int) -> None:
    journal = Follower(run_dir.journal)
    while True:
        has_ended = bool(select.select([supervisor], [], [], _LOOK_S)[0])
        with suppress(OSError):  # a journal that cannot be read now says nothing new either
            if journal.look().placement != placement:
                return end_superseded(run_dir, placement)
        if has_ended:
            return end_without_supervisor(run_dir, placement)


def end_superseded(run_dir: RunDir, placement: str) -> None:
    """Leave nothing of *placement* on this machine, and write nothing but that."""
    own = read_state(run_dir.journal).placement_of(placement)
    if own is None or not kill_placement(own):
        return
    with suppress(Exception):  # a cgroup that is left is no reason to be taken for alive
        undo_all(run_dir, own.acquired, kinds=_OF_THE_NODE)
    record_end(run_dir, placement)


def end_without_supervisor(run_dir: RunDir, placement: str) -> None:
    """Kill the run's container and close its journal, unless it has its last word, or Slurm will begin the job again."""
    try:
        lock_fd = open_locked(run_dir.supervisor_lock, wait=False)
    except LockBusy:
        return
    try:
        state = read_state(run_dir.journal)
        own = state.placement_of(placement)
        if state.job is None or state.placement != placement or own is None:
            return
        kill_placement(own)
        undo_all(run_dir)
        if is_requeued(state, placement):
            return
        why = f"its supervisor was killed on `{socket.gethostname()}`, and its job ended with it"
        Journal(run_dir.journal, placement).append(Finished(str(Reason.LOST), 125, message=why))
    finally:
        os.close(lock_fd)
