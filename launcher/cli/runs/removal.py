"""`launch runs rm RUN …`: remove what this machine keeps of runs that have ended, on request what MLflow shows of them, too; and
the pins that keep them."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from launcher.cli import render
from launcher.cli.command import Options
from launcher.cli.terminal import agrees
from launcher.errors import ConfigError
from launcher.run.pins_and_removal import finish_removals, is_pinned, pin, remove_run, unpin
from launcher.run.recover import recover_all
from launcher.tracking.record.chosen_runs import matching_runs
from launcher.tracking.record.find_runs import find_run, list_runs, trials_of
from launcher.tracking.record.run_record import RunRecord
from launcher.tracking.sync import is_synced
from runtime.plurals import counted
from runtime.state_dir import StateDir, state_dir


def remove_runs(options: Options) -> int:
    state = state_dir()
    if not state.runs.is_dir():
        raise ConfigError("there are no runs yet")
    recover_all(state)
    finish_removals(state)
    named = _named_runs(state, options)
    records = list({record.run_id: record for record in (*trials_of(state, named), *named)}.values())
    for record in records:
        _refuse(record, force=options.force)
    if options.where is not None and not options.yes and not _is_confirmed(records):
        return 1
    for record in records:
        if options.mlflow:
            _delete_in_mlflow(record)
        remove_run(state, record.run_dir)
        print(record.run_id)
    return 0


def _named_runs(state: StateDir, options: Options) -> list[RunRecord]:
    if options.where is None:
        return [find_run(state, reference) for reference in options.runs]
    found = matching_runs(list_runs(state), options.where)
    if not found:
        raise ConfigError("no run fulfils that", hint="`launch runs --where EXPR` shows what does")
    return found


def _refuse(record: RunRecord, *, force: bool) -> None:
    if record.exit_code is None:
        raise ConfigError(f"run `{record.run_id}` has not ended", hint=f"`launch stop {record.run_id}` ends it")
    if is_pinned(record.run_dir):
        raise ConfigError(f"run `{record.run_id}` is pinned", hint=f"`launch runs unpin {record.run_id}` lets it go")
    if not force and not is_synced(record.run_dir):
        hint = f"`launch sync {record.run_id}` sends it, `--force` drops it"
        raise ConfigError(f"MLflow has not got all of run `{record.run_id}`", hint=hint)


def _is_confirmed(records: Sequence[RunRecord]) -> bool:
    if not sys.stdin.isatty():
        raise ConfigError(f"{counted(len(records), 'run')} would be removed", hint="say so with `--yes`")
    render.say(", ".join(record.run_id for record in records))
    return agrees(f"remove {counted(len(records), 'run')}?")


def _delete_in_mlflow(record: RunRecord) -> None:
    from launcher.tracking.sync import delete_in_mlflow

    if not delete_in_mlflow(record.run_dir):
        render.say(f"{record.run_id} is not in MLflow")


def pin_runs(references: Sequence[str]) -> int:
    for record in [find_run(state_dir(), reference) for reference in references]:
        pin(record.run_dir)
        print(record.run_id)
    return 0


def unpin_runs(references: Sequence[str]) -> int:
    for record in [find_run(state_dir(), reference) for reference in references]:
        if unpin(record.run_dir):
            print(record.run_id)
        else:
            render.say(f"{record.run_id} was not pinned")
    return 0
