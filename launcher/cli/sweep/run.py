"""`launch -m experiment=NAME …`: the space composed, the images built once, then one trial after the other as there is room."""

from __future__ import annotations

import argparse
import os
import signal
import sys
from dataclasses import replace

from launcher.cli.arguments import Request
from launcher.cli.render import warn
from launcher.cli.sweep.prepare import PreparedSweep, prepare_sweep
from launcher.cli.sweep.summary import print_sweep_summary
from launcher.cli.sweep.view import sweep_view
from launcher.cli.timings import Timings
from launcher.errors import ConfigError
from launcher.run.fork_server import ForkServer
from launcher.run.signal_inbox import SignalInbox
from launcher.sweep import description
from launcher.sweep.description import SweepRequest
from launcher.sweep.machine import offer
from launcher.sweep.neighbours import Neighbours
from launcher.sweep.parent import SweepParent, new_parent, reopened_parent
from launcher.sweep.policy import FailurePolicy
from launcher.sweep.restore import restore
from launcher.sweep.room import Room
from launcher.sweep.run_sweep import Sweeping
from launcher.sweep.trial_log import TrialLog, read_trials
from launcher.tracking.record import RunRecord
from launcher.tracking.status import Reason
from runtime.state_dir import RunDir, state_dir

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
            description.write(parent.run_dir.sweep, prepared.description(asked))
            return _run(prepared, parent, supervisors, asked, quiet=options.quiet)


def resume_sweep(record: RunRecord, overrides: tuple[str, ...], *, force: bool, quiet: bool) -> int:
    """Go on with the sweep of *record*: its trials stay, those that ran are watched again or tried again, the others follow."""
    try:
        before = description.read(record.run_dir.sweep)
    except FileNotFoundError:
        hint = "`launch rerun` repeats its trials one by one"
        what = f"sweep `{record.run_id}` cannot be resumed: it was made by a Hydra program, or by an older launch"
        raise ConfigError(what, hint=hint) from None
    asked = replace(before.request, overrides=(*before.request.overrides, *overrides))
    state = state_dir().ensure()
    with ForkServer() as supervisors, reopened_parent(record.run_dir) as parent:
        prepared = prepare_sweep(asked, state, Timings(), quiet=quiet)
        now = prepared.description(asked)
        _refuse_changes(record, description.changes(before.same, now.same), force=force)
        description.write(parent.run_dir.sweep, now)
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
    here = offer()
    neighbours = Neighbours(prepared.state, parent.run_dir)
    view = sweep_view(study, settings, here, quiet=quiet)
    try:
        sweeping = Sweeping(
            state=prepared.state,
            sweep_id=parent.run_id,
            name=asked.name,
            command_line=("launch", *sys.argv[1:]),
            study=study,
            settings=settings,
            planned=prepared.planned,
            room=Room(
                here, neighbours, parallel=settings.parallel, ends_matter=study.learns or FailurePolicy.of(settings).has_an_end
            ),
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
    if settings.metrics:
        tracking = prepared.spec.tracking
        _draw(parent.run_dir, sent=tracking is not None and tracking.artifacts)
    total = study.total or len(end.trials)
    parent.close(end, settings, total=total)
    if not quiet:
        print_sweep_summary(parent.run_dir, prepared.state, end, total, settings)
    return 0 if end.reason is Reason.COMPLETED else 1


def _draw(run_dir: RunDir, *, sent: bool) -> None:
    """Pictures of the sweep, which MLflow gets (*sent*) as it gets what a program logs: a parent has no outputs that it would be
    asked for. They are an extra: what goes wrong with them is a warning."""
    from launcher.cli.sweep.pictures import FEWEST, write_pictures
    from launcher.sweep.importance import importances
    from launcher.sweep.results import read_results

    results = read_results(run_dir)
    if len(results.complete) < FEWEST:
        return
    try:
        write_pictures(results, run_dir.artifacts if sent else run_dir.outputs, importance=importances(results))
    except Exception as error:  # matplotlib's own, whatever it is
        warn(f"no pictures of the sweep: {error}")
