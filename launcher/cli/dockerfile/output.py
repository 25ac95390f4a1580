"""`launch plan experiment=NAME --dockerfile DIR`: the image as a Dockerfile. What is missing of it is built first."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path

from launcher.cli import render
from launcher.cli.arguments import Request
from launcher.cli.timings import Timings
from runtime.build.plan import BuildPlan
from runtime.build.sources import BuildSources
from runtime.store.records import Layer
from runtime.store.store import Store


def write_dockerfile(request: Request, directory: Path) -> int:
    """Write *directory* for the image of *request*."""
    from launcher.cli.prepare import prepare_image
    from launcher.plan.dockerfile_export.export import check_directory, export_dockerfile
    from launcher.plan.image_plan import sources
    from runtime.build.debian.shown_archive import archive_to_show
    from runtime.build.step_label import counted

    check_directory(directory)
    prepared = prepare_image(request, Timings())
    missing = sum(not step.cached for step in prepared.result.steps)
    if missing:
        render.say(f"built {counted(missing, 'layer')} that the store did not have")
    store = Store(prepared.state.store)
    plan = prepared.plan
    inputs = sources(plan, state=prepared.state, environ=os.environ)
    done = export_dockerfile(
        plan.build,
        prepared.image,
        store,
        directory=directory,
        name=plan.spec.name,
        command=plan.argv,
        stage_layers=partial(_stage_layers, plan.build, store, inputs),
        archive=partial(
            archive_to_show, suite=None, archives=None if inputs.debian is None else inputs.debian.archives, mirror=inputs.mirror
        ),
    )
    for warning in done.warnings:
        render.warn(warning)
    print(f"{directory}/Dockerfile  {counted(done.archives, 'archive')}  {render.size(done.size_bytes)}")
    render.say(f"build it: podman build -t {plan.spec.name} {directory}")
    return 0


def _stage_layers(build: BuildPlan, store: Store, inputs: BuildSources, number: int) -> tuple[Layer, ...]:
    from runtime.build.make_step import StepMaker
    from runtime.build.observer import NullObserver

    with store.building():
        return StepMaker(build, store, inputs, NullObserver()).stage_layers(number)
