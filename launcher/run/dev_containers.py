"""Containers to work in: what was run in them last, what is still to be reported of those that have ended, and their removal.
Those that live are found as runs are (`launcher.tracking.record.find_runs`).

Whoever ends one reports at once. One that ended by itself, or whose caller has gone, waits for the next `launch dev`.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from launcher.errors import ConfigError
from launcher.journal.run_journal import read_state
from launcher.journal.run_state import RunState
from launcher.run.running_runs import ended_error, refuse_paused
from launcher.tracking.record.run_record import RunRecord, fold, record_of
from runtime.file_lock import is_locked
from runtime.network.addresses import host_name
from runtime.rootfs.removal import remove_tree
from runtime.state_dir import RunDir, StateDir
from runtime.whole_file import replace_file

_REPORTED = "reported"
"""A file in the directory of one that stays for its outputs."""
_LAST_COMMAND = "last_command.json"
_NO_TRIES = frozenset(("apt", "apt-get", "jupyter", "pip", "pip3", "uv"))
"""`apt-get`, `python3 -m pip`."""


def living_in(state: StateDir, directory: Path) -> list[RunRecord]:
    """Those that were made from *directory* and live, oldest first."""
    return _living(state, lambda run: run.created is not None and run.created.cwd == str(directory))


def started(state: StateDir) -> list[RunRecord]:
    """Those that can be entered, oldest first."""
    return _living(state, lambda run: run.has_started)


def name_of(record: RunRecord, state: StateDir) -> str:
    """What clients of it call it: as the next container of the experiment, unless two are called so now."""
    called = [_called(other) for other in started(state)]
    return _called(record) if called.count(_called(record)) == 1 else record.run_id


def _called(record: RunRecord) -> str:
    """Its name as a host's, or the experiment's."""
    return host_name(record.name) or host_name(record.experiment)


def container_called(word: str, state: StateDir) -> RunRecord:
    """The one that is called so, and can be entered. Raises ConfigError where there is none, or several."""
    found = [record for record in started(state) if word in (record.run_id, _called(record))]
    if not found:
        for record in unreported(state):
            if word in (record.run_id, _called(record)):
                raise ended_error(record)
        hint = "`launch ps` lists those that are there; `launch dev experiment=NAME` makes one"
        raise ConfigError(f"no container to work in is called `{word}`", hint=hint)
    if len(found) > 1:
        ids = ", ".join(f"`{record.run_id}`" for record in found)
        raise ConfigError(f"{len(found)} containers to work in are called `{word}`", hint=f"their ids name them, too: {ids}")
    refuse_paused(found[0])
    return found[0]


def _living(state: StateDir, is_meant: Callable[[RunState], bool]) -> list[RunRecord]:
    states = [(run_dir, read_state(run_dir.journal)) for run_dir in state.active.own_runs() if run_dir.is_dev]
    records = [record_of(run_dir, run) for run_dir, run in states if not run.is_over and is_meant(run)]
    return sorted((record for record in records if record is not None), key=lambda record: record.created_at)


def unreported(state: StateDir) -> list[RunRecord]:
    """Those that have ended, and whose end nobody has reported."""
    try:
        names = sorted(os.listdir(state.dev))
    except FileNotFoundError:
        return []
    ended = [run_dir for run_dir in map(state.run, names) if not is_locked(run_dir.supervisor_lock)]
    records = [fold(run_dir) for run_dir in ended if not (run_dir.root / _REPORTED).exists()]
    return [record for record in records if record is not None and record.exit_code is not None]


def note_command(run_dir: RunDir, argv: Sequence[str]) -> None:
    """Whoever makes a run of the container wants the last command that was run in it, but for those that only prepare tries."""
    if not _NO_TRIES.isdisjoint(os.path.basename(word) for word in argv[:3]):
        return
    replace_file(run_dir.root / _LAST_COMMAND, json.dumps(list(argv)))


def last_command(run_dir: RunDir) -> tuple[str, ...] | None:
    try:
        return tuple(json.loads((run_dir.root / _LAST_COMMAND).read_bytes()))
    except FileNotFoundError:
        return None


def forget(run_dir: RunDir) -> bool:
    """Its end has been reported: remove it, unless it holds outputs or checkpoints. Whether those are kept."""
    if any(_holds_files(directory) for directory in (run_dir.outputs, run_dir.checkpoints)):
        (run_dir.root / _REPORTED).touch(mode=0o600)
        return True
    while os.path.lexists(run_dir.root):
        with suppress(FileNotFoundError):  # who is in it and who stops it both see its end, and remove it
            remove_tree(run_dir.root)
    return False


def _holds_files(directory: Path) -> bool:
    return any(files for _, _, files in os.walk(directory))
