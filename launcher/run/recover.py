"""Runs that lost their supervisor: adopt the living, close the dead. Called by every command that looks at runs.

After `kill -9` of a supervisor the container's init still holds the output pipes, the gateway's listener and the lease: another
supervisor asks it for them and goes on. When init is gone too, its exit record (or the lack of one) says how the run ended.
"""

from __future__ import annotations

import os
import time
from collections.abc import Sequence

from launcher.plan.launch_plan import LaunchPlan
from launcher.run import active
from launcher.run.acquisitions import undo_all
from launcher.run.follow import Followed, follow, opened_logs
from launcher.run.handover import spawn_supervisor
from launcher.run.outcome import outcome_of
from launcher.run.run_experiment import Attempt
from launcher.run.signal_inbox import SignalInbox
from launcher.run.tracker_process import TrackerProcess
from launcher.tracking import journal
from launcher.tracking.journal import Event
from launcher.tracking.status import Reason
from runtime.cgroup.cgroup import open_cgroup
from runtime.container import adopt, lifecycle
from runtime.errors import ContainerError
from runtime.file_lock import LockBusy, open_locked
from runtime.state_dir import RunDir, StateDir

TOOK_OVER = "the supervisor had died; another one took over"


def recover_all(state: StateDir) -> None:
    """Give every run without a supervisor a new one. Cheap when there is none: one directory listing."""
    for run_dir in active.active_runs(state):
        recover(run_dir)


def recover(run_dir: RunDir) -> None:
    """Start a supervisor for *run_dir* unless it has one or needs none."""
    if not run_dir.root.is_dir():
        active.unmark(run_dir)
        return
    try:
        lock_fd = open_locked(run_dir.supervisor_lock, wait=False)
    except LockBusy:
        return
    os.ftruncate(lock_fd, 0)  # it names the dead one
    if not (run_dir.plan.exists() and any(event.name == "queued" for event in journal.read(run_dir.journal))):
        _close_without_supervisor(run_dir, lock_fd)
        return
    spawn_supervisor(run_dir, lock_fd)


def _close_without_supervisor(run_dir: RunDir, lock_fd: int) -> None:
    """A sweep's parent whose process was killed, or a launch that was ended before it could hand over: nothing to adopt, and
    nothing that should start hours later because somebody typed `launch ps`."""
    try:
        events = journal.read(run_dir.journal)
        if events and not any(event.name == "finished" for event in events):
            message = "its launch was ended before the run began" if run_dir.plan.exists() else None
            journal.append(run_dir.journal, "finished", reason=str(Reason.LOST), exit_code=125, signal=None, message=message)
        active.unmark(run_dir)
    finally:
        os.close(lock_fd)


def resume_supervision(run_dir: RunDir, plan: LaunchPlan, inbox: SignalInbox, tracker: TrackerProcess) -> Attempt:
    """In the new supervisor: go on following the container, or find out how it ended. Gives back what the dead one had taken."""
    journal.append(run_dir.journal, "note", text=TOOK_OVER)
    try:
        followed = _follow_to_the_end(run_dir, plan, inbox, tracker)
        usage = open_cgroup(f"launch-{run_dir.run_id}").usage()
        outcome = outcome_of(followed.program, asked=followed.asked, oom_kills=usage.oom_kills, memory_bytes=plan.memory_bytes)
        return Attempt(outcome, usage)
    finally:
        undo_all(run_dir)


def _follow_to_the_end(run_dir: RunDir, plan: LaunchPlan, inbox: SignalInbox, tracker: TrackerProcess) -> Followed:
    events = journal.read(run_dir.journal)
    asked = next((Reason(event.fields["reason"]) for event in reversed(events) if event.name == "stopping"), None)
    try:
        container = adopt.adopt(run_dir.init_socket, run_dir.exit_record)
    except ContainerError:
        return Followed(lifecycle.read_exit(run_dir.exit_record), asked)
    if container.listener_fd is not None:
        tracker.hand_listener(container.listener_fd)
    with opened_logs(run_dir) as logs:
        return follow(
            container,
            run_dir,
            inbox,
            logs,
            tracker,
            timeout_s=_time_left(plan.spec.timeout, events),
            grace_s=plan.spec.grace,
            asked=asked,
            silent=not any(event.name == "first_output" for event in events),
        )


def _time_left(timeout_s: float | None, events: Sequence[Event]) -> float | None:
    """What is left of the run's timeout: it counts from the program's start, whoever followed it then."""
    if timeout_s is None:
        return None
    # Killed between the program's start and its entry in the journal: count from the last entry before.
    started = next((event.at for event in reversed(events) if event.name == "started"), events[-1].at)
    return max(0.0, timeout_s - (time.time() - started))
