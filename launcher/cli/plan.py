"""What stops before a run: `launch plan`, what would be built and run, hit or miss for each layer, and why; the image as a
Dockerfile; `launch lock`, the hash-locked requirements next to the experiment's file."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from launcher.cli import render
from launcher.cli.arguments import Request, Talk
from launcher.cli.prepare import compose
from launcher.cli.progress import passing_progress
from launcher.cli.timings import Timings
from runtime.plurals import counted
from runtime.state_dir import StateDir, state_dir
from runtime.store.store import Store

if TYPE_CHECKING:
    from launcher.plan.launch_plan import LaunchPlan
    from runtime.build.plan import BuildPlan
    from runtime.build.sources import BuildSources
    from runtime.store.records import Layer


def show_plan(request: Request, talk: Talk, *, as_json: bool) -> int:
    from launcher.plan.code.left_out import left_out_of
    from launcher.plan.explain import explain
    from launcher.plan.planner import plan as make_plan

    state = state_dir()
    composed = compose(request, state)
    with passing_progress(talk) as observer:
        plan = make_plan(composed, state=state, environ=os.environ, runs_here=False, observer=observer)
    explained = explain(plan, Store(state.store), left_out=left_out_of(plan.code, environ=os.environ))
    job = _job_script(plan, state)
    if as_json:
        render.print_json(explained.to_json() | ({} if job is None else {"job": job}))
        return 0
    for warning in plan.warnings:
        render.warn(warning)
    print(explained.text())
    if job is not None:
        print(f"\nThe job, as `{plan.spec.cluster.kind}` would be given it (RUN is the id of the run):\n")
        print(job, end="")
    return 0


def _job_script(plan: LaunchPlan, state: StateDir) -> str | None:
    """What a cluster would be given; None for this machine."""
    if plan.spec.cluster.kind == "local":
        return None
    from launcher.cluster.submission import script_of

    return script_of(plan, state.run("RUN"))


def write_dockerfile(request: Request, directory: Path, talk: Talk) -> int:
    """Write *directory* for the image of *request*."""
    from launcher.cli.prepare import prepare_image
    from launcher.plan.dockerfile_export.export import check_directory, export_dockerfile
    from launcher.plan.image_plan import sources
    from runtime.build.debian.shown_archive import archive_to_show

    check_directory(directory)
    prepared = prepare_image(request, Timings(), talk=talk)
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
        archive=partial(archive_to_show, suite=None, archives=None, mirror=inputs.mirror),
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


def write_lock(request: Request, talk: Talk, *, format: str, upgrade: bool) -> int:
    from launcher.plan.requirements.write_locks import lock_experiment

    state = state_dir().ensure()
    composed = compose(request, state)
    with passing_progress(talk) as observer:
        written = lock_experiment(
            composed,
            state=state,
            environ=os.environ,
            format=format,
            refresh=upgrade,
            observer=observer,
        )
    for path in dict.fromkeys(filter(None, (written.path, written.base_path))):
        print(path)
    for change in written.changes:
        render.say(f"  {change}")
    if not written.lock.python:
        render.say("the base is locked; there are no requirements")
        return 0
    render.say(
        f"{counted(len(written.lock.wheels), 'package')} locked for Python {written.lock.python} on {written.lock.platform}"
    )
    return 0
