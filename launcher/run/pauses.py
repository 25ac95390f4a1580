"""A paused run: nothing in its container moves, and its `timeout` does not count meanwhile.

The kernel's freezer is the truth about now, the journal about how long. The supervisor isn't told: it reads the journal when the
timeout seems to be over.
"""

from __future__ import annotations

import select

from launcher.errors import ConfigError
from launcher.journal.events import Paused, Unpaused
from launcher.journal.run_journal import Journal
from launcher.run.supervisor.signal_inbox import SignalInbox
from launcher.tracking.record.run_record import RunRecord
from runtime.cgroup.freezer import can_freeze, freeze, is_frozen, thaw
from runtime.cgroup.own_cgroups import open_cgroup
from runtime.errors import Unsupported
from runtime.state_dir import RunDir

_LOOK_S = 0.5


def pause(record: RunRecord) -> None:
    """Pause the living run *record*. Raises ConfigError where that can't be, ContainerError when the kernel could not."""
    if record.phase == "stopping":
        raise ConfigError(f"run `{record.run_id}` is ending; it can't be paused any more")
    cgroup = open_cgroup(record.run_dir.cgroup_name)
    if not can_freeze(cgroup):
        raise Unsupported(
            f"run `{record.run_id}` can't be paused: it has no cgroup with a freezer",
            hint="that takes root, or cgroup version 2 with a subtree that is yours: `launch doctor` says how",
        )
    if is_frozen(cgroup):
        raise ConfigError(f"run `{record.run_id}` is paused already", hint=f"`launch unpause {record.run_id}` lets it go on")
    freeze_run(record.run_dir, Journal(record.run_dir.journal))


def unpause(record: RunRecord) -> None:
    """Let it go on. Raises ConfigError for a run that is not paused."""
    was_frozen = is_frozen(open_cgroup(record.run_dir.cgroup_name))
    thaw_run(record.run_dir, Journal(record.run_dir.journal))
    if not was_frozen:
        raise ConfigError(f"run `{record.run_id}` is not paused")


def freeze_run(run_dir: RunDir, journal: Journal) -> None:
    journal.append(Paused())
    try:
        freeze(open_cgroup(run_dir.cgroup_name))
    except BaseException:
        journal.append(Unpaused())
        raise


def thaw_run(run_dir: RunDir, journal: Journal) -> None:
    thaw(open_cgroup(run_dir.cgroup_name))
    if journal.read().is_paused:
        journal.append(Unpaused())


def thaw_to_end(run_dir: RunDir, journal: Journal) -> None:
    """In the supervisor, before it ends the run: a paused program can't save anything, and under cgroup v1 can't even die."""
    if journal.read().was_paused:
        thaw_run(run_dir, journal)


def wait_while_paused(run_dir: RunDir, journal: Journal, inbox: SignalInbox) -> None:
    """In a supervisor that takes over: init is paused too and can't answer. A request to end the run resumes it."""
    while has_frozen_processes(run_dir, journal):
        if select.select([inbox.fd], [], [], _LOOK_S)[0]:
            thaw_to_end(run_dir, journal)


def has_frozen_processes(run_dir: RunDir, journal: Journal) -> bool:
    """Whether there are processes of the run, and all of them are frozen."""
    if not journal.read().was_paused:
        return False
    cgroup = open_cgroup(run_dir.cgroup_name)
    return is_frozen(cgroup) and bool(cgroup.pids())
