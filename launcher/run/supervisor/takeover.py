"""A supervisor takes over a run whose supervisor died: adopt the living container, or find out how it ended.

After `kill -9` of a supervisor the container's init still holds the output pipes, the gateway's listener and the lease: another
supervisor asks it for them and goes on. When init is gone too, its exit record (or the lack of one) says how the run ended.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING

from launcher.journal import journal
from launcher.journal.journal import Event
from launcher.journal.status import Reason
from launcher.plan.launch_plan import LaunchPlan
from launcher.run.pauses import let_go_on, paused_s, stands_still, wait_while_paused
from launcher.run.recover import TOOK_OVER
from launcher.run.supervisor.acquisitions import undo_all
from launcher.run.supervisor.attempt import Attempt, ended
from launcher.run.supervisor.follow import follow
from launcher.run.supervisor.followed import Followed
from launcher.run.supervisor.logs import opened_logs
from launcher.run.supervisor.signal_inbox import SignalInbox
from launcher.run.supervisor.tracker_process import TrackerProcess
from launcher.tracking.record.run_record import process_started
from runtime.cgroup.own_cgroups import open_cgroup
from runtime.container import adopt, lifecycle
from runtime.container.lifecycle import Container
from runtime.errors import ContainerError
from runtime.state_dir import RunDir

if TYPE_CHECKING:
    from launcher.run.gpus.gpu_watch import GpuWatch


def take_over(run_dir: RunDir, plan: LaunchPlan, inbox: SignalInbox, tracker: TrackerProcess, *, attempt: int) -> Attempt:
    """In the new supervisor: go on following the container of that attempt, or find out how it ended. Gives back what the dead
    one had taken."""
    journal.append(run_dir.journal, "note", text=TOOK_OVER)
    try:
        followed = _follow_to_the_end(run_dir, plan, inbox, tracker, attempt)
        if plan.spec.metrics.tensorboard:
            tracker.catch_up()
        return ended(followed, open_cgroup(run_dir.cgroup_name))
    finally:
        undo_all(run_dir)


def _follow_to_the_end(run_dir: RunDir, plan: LaunchPlan, inbox: SignalInbox, tracker: TrackerProcess, attempt: int) -> Followed:
    stopping = _stopping(_of_this_attempt(journal.read(run_dir.journal)))
    if stopping is not None:
        let_go_on(run_dir)
    try:
        container: Container | None = _adopted(run_dir, inbox)
    except ContainerError:
        container = None
    events = _of_this_attempt(journal.read(run_dir.journal))
    # Until it has taken anything, the record that lies there is the last attempt's.
    recorded = lifecycle.read_exit(run_dir.exit_record) if container is None and _has(events, "acquired") else None
    if (container is not None or recorded is not None) and not _has(events, "started"):
        events.append(_note_start(run_dir, container, attempt, events))
    if container is None:
        return Followed(recorded, *_asked(stopping))
    if container.listener_fd is not None:
        tracker.hand_listener(container.listener_fd)
    with opened_logs(run_dir) as logs, _watched(run_dir, plan, events) as gpus:
        return follow(
            container,
            run_dir,
            inbox,
            logs,
            tracker,
            timeout_s=_time_left(plan.spec.timeout, events),
            grace_s=plan.spec.grace,
            gpus=gpus,
            stopping=stopping,
            silent=not _has(events, "first_output"),
        )


def _stopping(events: Sequence[Event]) -> Event | None:
    return next((event for event in reversed(events) if event.name == "stopping"), None)


def _asked(stopping: Event | None) -> tuple[Reason | None, str | None]:
    return (None, None) if stopping is None else (Reason(stopping.fields["reason"]), stopping.get("detail"))


def _of_this_attempt(events: Sequence[Event]) -> list[Event]:
    last = max((number for number, event in enumerate(events) if event.name in ("attempt", "resumed")), default=-1)
    return [*events[last + 1 :]]


def _has(events: Sequence[Event], name: str) -> bool:
    return any(event.name == name for event in events)


def _note_start(run_dir: RunDir, container: Container | None, attempt: int, events: Sequence[Event]) -> Event:
    """The program's start, which the dead supervisor was killed before it could write down: it followed its last entry."""
    at = next(event.at for event in reversed(events) if event.name != "note")
    pid = None if container is None else container.pid
    started = None if pid is None else process_started(pid)
    return journal.append(run_dir.journal, "started", at=at, attempt=attempt, init_pid=pid, init_started=started)


def _watched(run_dir: RunDir, plan: LaunchPlan, events: Sequence[Event]) -> AbstractContextManager[GpuWatch | None]:
    """What the run holds was leased last; its init holds the lease on."""
    uuids = next((event.get("gpus") for event in reversed(events) if event.name == "leased"), None)
    if not uuids:
        return nullcontext()
    from launcher.run.gpus.gpu_watch import watch_gpus

    return watch_gpus(run_dir, plan, uuids, begun=True)


def _adopted(run_dir: RunDir, inbox: SignalInbox) -> Container:
    """A paused container answers when it goes on."""
    while True:
        wait_while_paused(run_dir, inbox)
        try:
            return adopt.adopt(run_dir.init_socket, run_dir.exit_record)
        except ContainerError:
            if not stands_still(run_dir):
                raise


def _time_left(timeout_s: float | None, events: Sequence[Event]) -> float | None:
    """What is left of the run's timeout: it counts from the program's start, whoever followed it then."""
    if timeout_s is None:
        return None
    started = next(event.at for event in reversed(events) if event.name == "started")
    now = time.time()
    return max(0.0, timeout_s - (now - started) + paused_s(events, now=now))
