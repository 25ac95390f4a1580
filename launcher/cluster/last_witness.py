"""What ends with a job's supervisor that was killed alone: the run, since nobody in the job could take it over.

On a machine of one's own, init outlives its supervisor and another one adopts the run (`launcher.run.takeover`). A job is over
with its first process, and its GPUs are another's a moment later. With proctrack/cgroup Slurm then kills whatever is left; with
proctrack/linuxproc, which knows processes by their parents, init and the program would live on.
"""

from __future__ import annotations

import os
import select
import signal
import socket

from launcher.run.acquisitions import undo_all
from launcher.tracking import journal
from launcher.tracking.record import init_lives
from launcher.tracking.status import Reason
from launcher.tracking.submitted import job_of
from runtime.file_lock import LockBusy, open_locked
from runtime.state_dir import RunDir

_ENDED_WITHIN_S = 5.0


def fork_witness(run_dir: RunDir) -> None:
    """Fork a process that waits for the end of this one, and ends what is left of the run if that was before the run's own."""
    supervisor = os.pidfd_open(os.getpid())
    if os.fork():
        os.close(supervisor)
        return
    try:
        for signum in (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2):
            signal.signal(signum, signal.SIG_IGN)
        select.select([supervisor], [], [])
        end_what_is_left(run_dir)
    finally:
        os._exit(0)


def end_what_is_left(run_dir: RunDir) -> None:
    """Kill the run's container and close its journal, unless it has its last word."""
    try:
        lock_fd = open_locked(run_dir.supervisor_lock, wait=False)
    except LockBusy:
        return
    try:
        events = journal.read(run_dir.journal)
        if job_of(events) is None:
            return
        _kill_init(events)
        undo_all(run_dir)
        message = f"its supervisor was killed on `{socket.gethostname()}`, and its job ended with it"
        journal.append(run_dir.journal, "finished", reason=str(Reason.LOST), exit_code=125, signal=None, message=message)
    finally:
        os.close(lock_fd)


def _kill_init(events: list[journal.Event]) -> None:
    """With init, everything in its PID namespace ends."""
    if not init_lives(events):
        return
    started = [event for event in events if event.name == "started"][-1]
    try:
        init = os.pidfd_open(started.fields["init_pid"])
    except ProcessLookupError:
        return
    try:
        if init_lives(events):  # the number still means the process that it meant
            signal.pidfd_send_signal(init, signal.SIGKILL)
            select.select([init], [], [], _ENDED_WITHIN_S)
    finally:
        os.close(init)
