"""`launch -m experiment=NAME …`: the space composed and the images built here, the trials run by a process of the sweep's own."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING

from launcher.cli.arguments import Request, Talk
from launcher.cli.command import Options
from launcher.cli.sweep.own_process import Begun, start_process
from launcher.cli.sweep.prepare import PreparedSweep, prepare_sweep
from launcher.cli.sweep.sweep_place import SweepPlace
from launcher.cli.timings import Timings
from launcher.cli.watch import SIGNALS, watch_silently
from launcher.errors import ConfigError
from launcher.journal.status import Reason
from launcher.run.notice import keep_receiver
from launcher.run.start.fork_server import ForkServer
from launcher.run.supervisor.signal_inbox import SignalInbox, held_back
from launcher.sweep import description
from launcher.sweep.description import SweepRequest
from launcher.sweep.parent import SweepParent, new_parent, refuse_running, reopened_parent
from launcher.sweep.policy import FailurePolicy
from launcher.sweep.restore import restore
from launcher.sweep.run_sweep import SweepRunner
from launcher.sweep.trial_log import TrialLog, read_trials
from launcher.tracking.record.run_record import RunRecord
from runtime.light_dataclasses import dataclass, replace
from runtime.state_dir import RunDir, state_dir

if TYPE_CHECKING:
    from launcher.sweep.place import Place
    from launcher.sweep.search.study import Study

_REQUESTS = (signal.SIGINT, signal.SIGTERM, signal.SIGQUIT)
"""What the sweep's process is asked by."""


def sweep(request: Request, options: Options, timings: Timings) -> int:
    """Run the sweep. Exit code 0 when every trial finished, else 1."""
    config_dir = None if request.config_dir is None else os.path.abspath(request.config_dir)
    asked = SweepRequest(
        request.overrides, request.requirements, request.command, config_dir, os.getcwd(), options.name, options.note
    )
    state = state_dir().ensure()
    with ForkServer() as supervisors:
        prepared = prepare_sweep(asked, state, timings, talk=Talk.of(options, quiet=options.json))
        process = _SweepProcess(prepared, supervisors, asked)
        return process.start_and_watch(process.begin_new, options)


def resume_sweep(record: RunRecord, options: Options) -> int:
    """Go on with the sweep of *record*: its trials stay, those that ran are watched again or tried again, the others follow."""
    try:
        before = description.read(record.run_dir.sweep)
    except FileNotFoundError:
        hint = "`launch rerun` repeats its trials one by one"
        what = f"sweep `{record.run_id}` cannot be resumed: it was made by a Hydra program, or by an older launch"
        raise ConfigError(what, hint=hint) from None
    refuse_running(record.run_dir)
    asked = replace(before.request, overrides=(*before.request.overrides, *options.overrides))
    state = state_dir().ensure()
    with ForkServer() as supervisors:
        prepared = prepare_sweep(asked, state, Timings(), talk=Talk.of(options, quiet=options.json))
        _refuse_changes(record, description.changes(before.same, prepared.description(asked).same), force=options.force)
        process = _SweepProcess(prepared, supervisors, asked)
        return process.start_and_watch(lambda begun: process.go_on(record.run_dir, begun), options, from_now=True)


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


@dataclass(frozen=True, slots=True)
class _SweepProcess:
    """What the sweep's process does, and the command that forks it."""

    prepared: PreparedSweep
    supervisors: ForkServer
    asked: SweepRequest

    def start_and_watch(self, sweep: Callable[[Begun], int], options: Options, *, from_now: bool = False) -> int:
        """Have *sweep* done, and watch it or leave. Returns the exit code."""
        with held_back(SIGNALS):
            run_dir, process = start_process(sweep, self.prepared.state, debug=options.debug)
            self.supervisors.give_away()
            inbox = None if options.detach else SignalInbox(SIGNALS)
        if options.json:
            return _watch_for_record(SweepPlace(run_dir, process), inbox)
        if inbox is None:
            print(run_dir.run_id)
            return 0
        return SweepPlace(run_dir, process).watch_from(inbox, quiet=options.quiet, from_now=from_now)

    def begin_new(self, begun: Begun) -> int:
        """A new sweep."""
        asked = self.asked
        command_line = ("launch", *sys.argv[1:])
        with new_parent(
            self.prepared.spec, self.prepared.state, name=asked.name, note=asked.note, command_line=command_line
        ) as parent:
            return self._run(parent, begun)

    def go_on(self, run_dir: RunDir, begun: Begun) -> int:
        """One that goes on."""
        with reopened_parent(run_dir) as parent:
            keep_receiver(run_dir, self.prepared.spec.notify)
            return self._run(parent, begun)

    def _run(self, parent: SweepParent, begun: Begun) -> int:
        description.write(parent.run_dir.sweep, self.prepared.description(self.asked))
        begun(parent.run_dir)
        inbox = SignalInbox(_REQUESTS)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
        parent.begin(inbox)  # not before: what it forks would hold the signals back for ever, and MLflow's server with it
        study, settings = self.prepared.study(), self.prepared.settings
        known = read_trials(parent.run_dir.trials)
        log = TrialLog(parent.run_dir.trials)
        with self._trials_place(parent, study) as place:
            sweeping = SweepRunner(
                state=self.prepared.state,
                sweep_id=parent.run_id,
                name=self.asked.name,
                command_line=("launch", *sys.argv[1:]),
                study=study,
                settings=settings,
                plan_trial=self.prepared.plan_trial,
                place=place,
                tell=parent.message,
                inbox=inbox,
                log=log,
            )
            restore(sweeping, known)
            end = sweeping.run()
        if settings.metrics:
            tracking = self.prepared.spec.tracking
            _draw(parent, sent=tracking is not None and tracking.artifacts)
        parent.close(end, settings, total=study.total or len(end.trials))
        return 0 if end.reason is Reason.COMPLETED else 1

    @contextmanager
    def _trials_place(self, parent: SweepParent, study: Study) -> Iterator[Place]:
        """Where the trials go, for the body: to this machine, as there is room, or to a cluster's worker jobs. Nobody waits for a
        trial afterwards."""
        cluster, settings = self.prepared.spec.cluster, self.prepared.settings
        ends_matter = study.learns or FailurePolicy.of(settings).has_an_end
        if cluster.kind == "local":
            from launcher.sweep.capacity import offer
            from launcher.sweep.local_place import LocalPlace
            from launcher.sweep.other_sweeps import OtherSweeps
            from launcher.sweep.room import Room

            others = OtherSweeps(self.prepared.state, parent.run_dir)
            yield LocalPlace(Room(offer(), others, parallel=settings.parallel, ends_matter=ends_matter), self.supervisors)
            return
        from launcher.cluster.submission import engine_named
        from launcher.cluster.trials.slots import ClusterSlots, number_of_jobs
        from launcher.run.recover import recover

        def supervise(run_dir: RunDir, lock_fd: int) -> None:
            os.close(self.supervisors.supervise(run_dir, lock_fd))

        slots = ClusterSlots(
            parent.run_dir,
            engine_named(cluster.kind),
            limit=number_of_jobs(cluster, settings),
            ends_matter=ends_matter,
            tell=parent.message,
            send=lambda run_dir: recover(run_dir, start=supervise),
        )
        with closing(slots):
            yield slots


def _watch_for_record(place: SweepPlace, inbox: SignalInbox | None) -> int:
    """`--json`: the record once the sweep has ended, or now when nobody waits."""
    from launcher.cli.runs.show import print_record

    code = 0 if inbox is None else watch_silently(place, inbox)
    print_record(place.run_dir)
    return code


def _draw(parent: SweepParent, *, sent: bool) -> None:
    """Pictures of the sweep, which MLflow gets (*sent*) as it gets what a program logs: a parent has no outputs that it would be
    asked for. They are an extra: what goes wrong with them is a note."""
    from launcher.cli.sweep.pictures import FEWEST, write_pictures
    from launcher.sweep.results import read_results
    from launcher.sweep.search.importance import importances

    results, run_dir = read_results(parent.run_dir), parent.run_dir
    if len(results.complete) < FEWEST:
        return
    try:
        write_pictures(results, run_dir.artifacts if sent else run_dir.outputs, importance=importances(results))
    except Exception as error:  # matplotlib's own, whatever it is
        parent.message(f"no pictures of the sweep: {error}")
