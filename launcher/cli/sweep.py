"""`launch -m experiment=NAME …`: the space composed, the images built once, then one trial after the other as there is room."""

from __future__ import annotations

import argparse
import os
import signal
import sys

from launcher.cli.arguments import Request
from launcher.cli.sweep_prepare import PreparedSweep, prepare_sweep
from launcher.cli.sweep_view import print_sweep_summary, sweep_view
from launcher.cli.timings import Timings
from launcher.errors import ConfigError
from launcher.run.fork_server import ForkServer
from launcher.run.signal_inbox import SignalInbox
from launcher.sweep import description
from launcher.sweep.description import SweepRequest
from launcher.sweep.machine import offer
from launcher.sweep.parent import SweepParent, new_parent, reopened_parent
from launcher.sweep.restore import restore
from launcher.sweep.run_sweep import Sweeping
from launcher.sweep.trial_log import TrialLog, read_trials
from launcher.tracking.record import RunRecord
from launcher.tracking.status import Reason
from runtime.state_dir import state_dir

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def sweep(request: Request, options: argparse.Namespace, timings: Timings) -> int:
    """Run the sweep. Exit code 0 when every trial finished, else 1."""
    if options.detach:
        raise ConfigError("a sweep stays in the foreground", hint="run it in tmux, or with nohup: a lost terminal doesn't end it")
    config_dir = None if request.config_dir is None else os.path.abspath(request.config_dir)
    asked = SweepRequest(
        request.overrides, request.requirements, request.command, config_dir, os.getcwd(), options.name, options.note
    )
    state = state_dir().ensure()
    with ForkServer() as supervisors:
        prepared = prepare_sweep(asked, state, timings, quiet=options.quiet)
        command_line = ("launch", *sys.argv[1:])
        with new_parent(prepared.spec, state, name=options.name, note=options.note, command_line=command_line) as parent:
            described = description.describe(prepared.spec, prepared.composed.dimensions, code=prepared.code)
            description.write(parent.run_dir.sweep, asked, described)
            return _run(prepared, parent, supervisors, asked, quiet=options.quiet)


def resume_sweep(record: RunRecord, overrides: tuple[str, ...], *, force: bool, quiet: bool) -> int:
    """Go on with the sweep of *record*: its trials stay, those that ran are watched again or tried again, the others follow."""
    try:
        asked, before = description.read(record.run_dir.sweep)
    except FileNotFoundError:
        hint = "`launch rerun` repeats its trials one by one"
        raise ConfigError(f"sweep `{record.run_id}` was made by an older launch and cannot be resumed", hint=hint) from None
    asked = SweepRequest(
        (*asked.overrides, *overrides), asked.requirements, asked.command, asked.config_dir, asked.cwd, asked.name, asked.note
    )
    state = state_dir().ensure()
    with ForkServer() as supervisors, reopened_parent(record.run_dir) as parent:
        prepared = prepare_sweep(asked, state, Timings(), quiet=quiet)
        now = description.describe(prepared.spec, prepared.composed.dimensions, code=prepared.code)
        _refuse_changes(record, description.changes(before, now), force=force)
        description.write(parent.run_dir.sweep, asked, now)
        parent.begin_again()
        return _run(prepared, parent, supervisors, asked, quiet=quiet)


def _refuse_changes(record: RunRecord, changes: list[str], *, force: bool) -> None:
    if not changes or force:
        return
    refusal = ConfigError(
        f"sweep `{record.run_id}` would go on as another one: {changes[0]}",
        hint="undo that, or `--force`: the trials so far then count for the changed sweep",
    )
    for change in changes[1:]:
        refusal.add_note(change)
    raise refusal


def _run(prepared: PreparedSweep, parent: SweepParent, supervisors: ForkServer, asked: SweepRequest, *, quiet: bool) -> int:
    study, settings = prepared.study(), prepared.settings
    known = read_trials(parent.run_dir.trials)
    log = TrialLog(parent.run_dir.trials)
    view = sweep_view(study, quiet=quiet)
    try:
        sweeping = Sweeping(
            state=prepared.state,
            sweep_id=parent.run_id,
            name=asked.name,
            command_line=("launch", *sys.argv[1:]),
            study=study,
            settings=settings,
            planned=prepared.planned,
            offer=offer(),
            view=view,
            inbox=SignalInbox(_SIGNALS),
            supervisors=supervisors,
            log=log,
        )
        restore(sweeping, known)
        end = sweeping.run()
    finally:
        view.close()
        log.close()
    total = study.total or len(end.trials)
    parent.close(end, settings, total=total)
    if not quiet:
        print_sweep_summary(parent.run_dir, prepared.state, end, total, settings)
    return 0 if end.reason is Reason.COMPLETED else 1
