"""A paused run: nothing in its container moves, and its `timeout` stands still with it.

The kernel's freezer is the truth about now, the journal about how long. The supervisor isn't told: it reads the journal when the
timeout seems to be over.
"""

from __future__ import annotations

import select
from collections.abc import Sequence

from launcher.errors import ConfigError
from launcher.journal import journal
from launcher.journal.journal import Event
from launcher.run.living import cgroup_of
from launcher.run.supervisor.signal_inbox import SignalInbox
from launcher.tracking.record.run_record import RunRecord
from runtime.cgroup.freezer import can_freeze, freeze, is_frozen, thaw
from runtime.cgroup.own_cgroups import open_cgroup
from runtime.errors import Unsupported
from runtime.state_dir import RunDir

_LOOK_S = 0.5


def pause(record: RunRecord) -> None:
    """Let the living run *record* stand still. Raises ConfigError where that can't be, ContainerError when it would not."""
    if record.phase == "stopping":
        raise ConfigError(f"run `{record.run_id}` is ending; it can't be paused any more")
    cgroup = cgroup_of(record)
    if not can_freeze(cgroup):
        raise Unsupported(
            f"run `{record.run_id}` can't be paused: it has no cgroup with a freezer",
            hint="that takes root, or cgroup version 2 with a subtree that is yours: `launch doctor` says how",
        )
    if is_frozen(cgroup):
        raise ConfigError(f"run `{record.run_id}` is paused already", hint=f"`launch unpause {record.run_id}` lets it go on")
    stand_still(record.run_dir)


def stand_still(run_dir: RunDir) -> None:
    journal.append(run_dir.journal, "paused")
    try:
        freeze(open_cgroup(run_dir.cgroup_name))
    except BaseException:
        journal.append(run_dir.journal, "unpaused")
        raise


def unpause(record: RunRecord) -> None:
    """Let it go on."""
    cgroup = cgroup_of(record)
    was_frozen = is_frozen(cgroup)
    go_on(record.run_dir)
    if not was_frozen:
        raise ConfigError(f"run `{record.run_id}` is not paused")


def go_on(run_dir: RunDir) -> None:
    thaw(open_cgroup(run_dir.cgroup_name))
    if is_paused(journal.read(run_dir.journal)):
        journal.append(run_dir.journal, "unpaused")


def let_go_on(run_dir: RunDir) -> None:
    """In the supervisor, before it ends the run: what stands still can't save anything, and under cgroup v1 can't even die."""
    if any(event.name == "paused" for event in journal.read(run_dir.journal)):
        go_on(run_dir)


def wait_while_paused(run_dir: RunDir, inbox: SignalInbox) -> None:
    """In a supervisor that takes over: init stands still too and can't answer. A request to end the run wakes it."""
    while stands_still(run_dir):
        if select.select([inbox.fd], [], [], _LOOK_S)[0]:
            let_go_on(run_dir)


def stands_still(run_dir: RunDir) -> bool:
    """Whether there are processes of the run, and none of them moves."""
    if not any(event.name == "paused" for event in journal.read(run_dir.journal)):
        return False
    cgroup = open_cgroup(run_dir.cgroup_name)
    return is_frozen(cgroup) and bool(cgroup.pids())


def is_paused(events: Sequence[Event]) -> bool:
    """By the journal."""
    names = [event.name for event in events if event.name in ("paused", "unpaused", "started", "finished")]
    return names[-1:] == ["paused"]


def paused_s(events: Sequence[Event], *, now: float) -> float:
    """Seconds that the current attempt has stood still, until *now* (Unix time)."""
    total, since = 0.0, None
    for event in events:
        if event.name == "started":
            total, since = 0.0, None
        elif event.name == "paused" and since is None:
            since = event.at
        elif event.name == "unpaused" and since is not None:
            total, since = total + event.at - since, None
    return total if since is None else total + max(0.0, now - since)
