"""`launch -m experiment=NAME …`: every trial composed and planned, the image built once, then run side by side."""

from __future__ import annotations

import argparse
import itertools
import os
import signal
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path

from launcher.cli.arguments import Request
from launcher.cli.prepare import Prepared, build_image, start_local_server
from launcher.cli.sweep_view import print_sweep_summary, sweep_view
from launcher.cli.timings import Timings
from launcher.config.compiled import SweepComposed, load_sweep
from launcher.config.spec import ExperimentSpec, Sweep
from launcher.config.sweep_dimension import Dimension
from launcher.errors import ConfigError
from launcher.plan.refusals import refuse_one_port_for_many
from launcher.run.fork_server import ForkServer
from launcher.run.signal_inbox import SignalInbox
from launcher.sweep.machine import offer
from launcher.sweep.parent import sweep_parent
from launcher.sweep.run_sweep import Trial, run_sweep
from launcher.sweep.samplers import make_search
from launcher.sweep.study import Asked, Study
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
        make_study(composed, composed.parent.spec.sweep or Sweep())  # what no search can do is said before anything is built
        start_local_server(composed.parent.spec, state)
        prepared = _prepare_images(composed, state, timings, quiet=options.quiet)
        # `prepared` holds the images until the last trial has started.
        return _run_trials(composed, prepared, state, supervisors, options)


def _run_trials(
    composed: SweepComposed,
    prepared: Mapping[str, Prepared],
    state: StateDir,
    supervisors: ForkServer,
    options: argparse.Namespace,
) -> int:
    spec = composed.parent.spec
    settings = spec.sweep or Sweep()
    study = make_study(composed, settings)
    command_line = ("launch", *sys.argv[1:])
    with sweep_parent(spec, state, name=options.name, note=options.note, command_line=command_line) as parent:
        view = sweep_view(study, quiet=options.quiet)
        try:
            end = run_sweep(
                study,
                planned=lambda asked: _planned(asked, composed, prepared, state),
                settings=settings,
                state=state,
                sweep_id=parent.run_id,
                name=options.name,
                command_line=command_line,
                offer=offer(),
                view=view,
                inbox=SignalInbox((signal.SIGINT, signal.SIGTERM, signal.SIGHUP)),
                supervisors=supervisors,
            )
        finally:
            view.close()
        total = study.total or len(end.trials)
        parent.close(end, settings, total=total)
    if not options.quiet:
        print_sweep_summary(parent.run_dir, state, end, total, settings)
    return 0 if end.reason is Reason.COMPLETED else 1


def make_study(composed: SweepComposed, settings: Sweep) -> Study:
    """The study of a sweep that begins. Raises ConfigError for settings that no search has."""
    from launcher.plan.origins import origin_of

    search = make_search(composed.dimensions, settings, where=lambda key: origin_of(composed.parent.origins, key))
    return Study(search, composed.dimensions, settings, base_seed=composed.parent.spec.seed, enqueued=composed.enqueued)


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
    """One plan and one build for each image that a trial may need."""
    from launcher.cli.progress import planning_progress
    from launcher.plan.planner import plan as make_plan

    prepared: dict[str, Prepared] = {}
    for overrides in _points_by_image(sweep.dimensions):
        composed = sweep.trial(overrides)
        key = _image_key(composed.spec)
        if key not in prepared:
            with timings.phase("plan"), nullcontext() if quiet else planning_progress() as observer:
                made = make_plan(composed, state=state, environ=os.environ, cwd=Path.cwd(), observer=observer)
            prepared[key] = build_image(made, state, timings, quiet=quiet)
    return prepared


def _points_by_image(dimensions: Sequence[Dimension]) -> Iterator[tuple[str, ...]]:
    """Points that show every image: all combinations of what images depend on, beside the first values of the rest."""
    return itertools.product(*(each.choices if _shapes_the_image(each) else (each.first,) for each in dimensions))


def _shapes_the_image(dimension: Dimension) -> bool:
    """`params`, `env` and the like do not; a group (`image=…`, `experiment=…`) may."""
    return dimension.key.partition(".")[0] in ("image", "code", "workdir", "experiment")


def _planned(asked: Asked, sweep: SweepComposed, prepared: Mapping[str, Prepared], state: StateDir) -> Trial:
    """The plan of the trial's image with the trial's own spec."""
    from launcher.plan.planner import with_spec

    composed = sweep.trial(asked.overrides)
    ready = prepared[_image_key(composed.spec)]
    plan = with_spec(ready.plan, composed.spec, overrides=composed.overrides, state=state)
    return Trial(asked.number, asked.overrides, plan, ready.image.digest)


def _image_key(spec: ExperimentSpec) -> str:
    return repr((spec.image, spec.code, spec.workdir))
