"""`launch -m experiment=NAME …`: every trial composed and planned, the image built once, then run side by side."""

from __future__ import annotations

import argparse
import os
import signal
import sys
from contextlib import nullcontext
from pathlib import Path

from launcher.cli.arguments import Request
from launcher.cli.prepare import Prepared, build_image, start_local_server
from launcher.cli.render import say
from launcher.cli.sweep_view import print_sweep_summary, sweep_view
from launcher.cli.timings import Timings
from launcher.config.compiled import SweepComposed, load_sweep
from launcher.config.spec import ExperimentSpec, Sweep
from launcher.errors import ConfigError
from launcher.plan.refusals import refuse_one_port_for_many
from launcher.run.fork_server import ForkServer
from launcher.run.recover import recover_runs
from launcher.run.signal_inbox import SignalInbox
from launcher.sweep.capacity import Need, slots
from launcher.sweep.machine import offer
from launcher.sweep.parent import sweep_parent
from launcher.sweep.run_sweep import FailurePolicy, Trial, run_sweep
from launcher.tracking.status import Reason
from runtime.state_dir import StateDir, state_dir


def sweep(request: Request, options: argparse.Namespace, timings: Timings) -> int:
    """Run the sweep. Exit code 0 when every trial finished, else 1."""
    if options.detach:
        raise ConfigError("a sweep stays in the foreground", hint="run it in tmux, or with nohup: a lost terminal doesn't end it")
    state = state_dir().ensure()
    with ForkServer() as supervisors:
        with timings.phase("compose"):
            composed = _compose(request, state)
        refuse_one_port_for_many(composed.parent.spec)
        for note in () if options.quiet else composed.notes:
            say(f"sweep: {note}")
        start_local_server(composed.parent.spec, state)
        prepared = _prepare_images(composed, state, timings, quiet=options.quiet)
        # `prepared` holds the images until the last trial has started.
        trials = _plan_trials(composed, prepared, state)
        recover_runs(state)
        return _run_trials(composed.parent.spec, trials, state, supervisors, options)


def _run_trials(
    spec: ExperimentSpec, trials: list[Trial], state: StateDir, supervisors: ForkServer, options: argparse.Namespace
) -> int:
    settings = spec.sweep or Sweep()
    command_line = ("launch", *sys.argv[1:])
    with sweep_parent(spec, state, name=options.name, note=options.note, command_line=command_line) as parent:
        view = sweep_view(len(trials), quiet=options.quiet)
        try:
            end = run_sweep(
                trials,
                state=state,
                sweep_id=parent.run_id,
                name=options.name,
                command_line=command_line,
                slots=slots(_largest(trials), offer(), parallel=settings.parallel),
                view=view,
                inbox=SignalInbox((signal.SIGINT, signal.SIGTERM, signal.SIGHUP)),
                supervisors=supervisors,
                policy=FailurePolicy(settings.on_failure == "stop", settings.max_failures, settings.retries),
                timeout_s=settings.timeout,
            )
        finally:
            view.close()
        parent.close(end, settings, total=len(trials))
    if not options.quiet:
        print_sweep_summary(parent.run_dir, end.records, len(trials), settings)
    return 0 if end.reason is Reason.COMPLETED else 1


def _compose(request: Request, state: StateDir) -> SweepComposed:
    return load_sweep(
        request.overrides,
        config_dir=request.config_dir,
        cwd=Path.cwd(),
        state=state,
        environ=os.environ,
        with_requirements=request.requirements,
        command=request.command,
    )


def _prepare_images(sweep: SweepComposed, state: StateDir, timings: Timings, *, quiet: bool) -> dict[str, Prepared]:
    """One plan and one build for each distinct image."""
    from launcher.cli.progress import planning_progress
    from launcher.plan.planner import plan as make_plan

    prepared: dict[str, Prepared] = {}
    for (_, spec), composed in zip(sweep.trials, sweep.composed, strict=True):
        key = _image_key(spec)
        if key not in prepared:
            with timings.phase("plan"), nullcontext() if quiet else planning_progress() as observer:
                made = make_plan(composed, state=state, environ=os.environ, cwd=Path.cwd(), observer=observer)
            prepared[key] = build_image(made, state, timings, quiet=quiet)
    return prepared


def _plan_trials(sweep: SweepComposed, prepared: dict[str, Prepared], state: StateDir) -> list[Trial]:
    """The plan of the trial's image with the trial's own spec."""
    from launcher.plan.planner import with_spec

    trials = []
    for number, ((apart, spec), composed) in enumerate(zip(sweep.trials, sweep.composed, strict=True), 1):
        ready = prepared[_image_key(spec)]
        plan = with_spec(ready.plan, spec, overrides=composed.overrides, state=state)
        trials.append(Trial(number, apart, plan, ready.image.digest))
    return trials


def _image_key(spec: ExperimentSpec) -> str:
    return repr((spec.image, spec.code, spec.workdir))


def _largest(trials: list[Trial]) -> Need:
    """What the hungriest trial needs: then any mix fits."""
    plans = [trial.plan for trial in trials]
    memory = [plan.memory_bytes for plan in plans if plan.memory_bytes]
    return Need(max(p.cpus for p in plans), max(memory) if memory else None, max(p.gpus for p in plans))
