"""What watches over a job's supervisor: ends the run when that was killed alone, and both when the run has gone on elsewhere.

On a machine of one's own, init outlives its supervisor and another adopts the run (`run/supervisor/takeover.py`). A job is over
with its first process, and its GPUs are another's a moment later. With proctrack/cgroup Slurm then kills whatever is left; with
proctrack/linuxproc, which knows processes by their parents, init and the program would live on.

A node that Slurm has lost sight of may live, and its job has begun again on another one. Nobody can end this copy but itself: the
witness reads the journal twice a second, and a supervisor that hangs in a broken disk or was stopped does not keep it from that.
"""

from __future__ import annotations

import os
import select
import signal
import socket
from collections.abc import Sequence
from contextlib import suppress

from launcher.cluster.placement.kill_placement import kill_placement
from launcher.cluster.placement.quarantine import say_over
from launcher.cluster.placement.requeue_check import goes_on
from launcher.journal import journal
from launcher.journal.events import Acquired
from launcher.journal.fencing import TOKEN
from launcher.journal.status import Reason
from launcher.journal.submitted import job_of
from launcher.journal.superseded import Watch
from launcher.run.supervisor.acquisitions import undo_all
from runtime.file_lock import LockBusy, open_locked
from runtime.state_dir import RunDir

_LOOK_S = 0.5

_OF_THE_NODE = ("network", "cgroup", "scratch")
"""What lies on the node and not in the run's directory, which is another's by now."""


def fork_witness(run_dir: RunDir, placement: str) -> None:
    """Fork the witness of this process, the supervisor of *placement*."""
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
    watch = Watch(run_dir.journal, placement)
    while True:
        has_ended = bool(select.select([supervisor], [], [], _LOOK_S)[0])
        with suppress(OSError):  # a journal that cannot be read now says nothing new either
            if watch.is_superseded():
                return end_superseded(run_dir, placement)
        if has_ended:
            return end_what_is_left(run_dir, placement)


def end_superseded(run_dir: RunDir, placement: str) -> None:
    """Leave nothing of *placement* on this machine, and write nothing but that."""
    events = _events_of(run_dir, placement)
    if not kill_placement(events):
        return
    with suppress(Exception):  # a cgroup that is left is no reason to be taken for alive
        undo_all(run_dir, _acquired(events), kinds=_OF_THE_NODE)
    say_over(run_dir, placement)


def end_what_is_left(run_dir: RunDir, placement: str) -> None:
    """Kill the run's container and close its journal, unless it has its last word, or Slurm will begin the job again."""
    try:
        lock_fd = open_locked(run_dir.supervisor_lock, wait=False)
    except LockBusy:
        return
    try:
        events = journal.read(run_dir.journal)
        if job_of(events) is None or Watch(run_dir.journal, placement).is_superseded():
            return
        kill_placement(_events_of(run_dir, placement))
        undo_all(run_dir)
        if goes_on(events, placement):
            return
        message = f"its supervisor was killed on `{socket.gethostname()}`, and its job ended with it"
        journal.append(run_dir.journal, "finished", reason=str(Reason.LOST), exit_code=125, signal=None, message=message)
    finally:
        os.close(lock_fd)


def _events_of(run_dir: RunDir, placement: str) -> list[journal.Event]:
    return [event for event in journal.read(run_dir.journal) if event.get(TOKEN) == placement]


def _acquired(events: Sequence[journal.Event]) -> list[Acquired]:
    return [Acquired(event.fields["kind"], event.fields["name"]) for event in events if event.name == "acquired"]
