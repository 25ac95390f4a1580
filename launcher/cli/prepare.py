"""What `run`, `plan`, `build` and the sweep do first: compose, plan, build; each phase timed."""

from __future__ import annotations

import os
from pathlib import Path

from launcher.cli.arguments import Request, Talk
from launcher.cli.timings import Timings
from launcher.config.compiled import ComposedSpec
from launcher.config.spec import ExperimentSpec
from launcher.plan.launch_plan import LaunchPlan
from runtime.build.builder import BuildResult, build
from runtime.build.cache_key import plan_key
from runtime.light_dataclasses import dataclass
from runtime.state_dir import StateDir, state_dir
from runtime.store.records import Image
from runtime.store.store import Store


@dataclass(frozen=True, slots=True)
class Prepared:
    """Everything a run needs before its supervisor takes over."""

    state: StateDir
    plan: LaunchPlan
    image: Image
    result: BuildResult


def compose(request: Request, state: StateDir | None = None) -> ComposedSpec:
    """The configuration of *request*; from the compiled configuration where nothing changed."""
    from launcher.config.compiled import load

    return load(
        request.overrides,
        config_dir=request.config_dir,
        cwd=Path.cwd(),
        state=state or state_dir(),
        environ=os.environ,
        with_requirements=request.requirements,
        command=request.command,
    )


def prepare(
    request: Request, timings: Timings, *, image: str | None = None, talk: Talk = Talk.NORMAL, may_wait: bool = True
) -> Prepared:
    """For a run: compose, start the tracking server beside the rest, plan and build. A run that *may_wait* not is refused before
    anything is built when its GPUs are taken."""
    state = state_dir().ensure()
    composed = _compose_timed(request, state, timings)
    start_local_server(composed.spec, state)
    return plan_and_build(composed, state, timings, image=image, talk=talk, may_wait=may_wait)


def prepare_image(request: Request, timings: Timings, *, talk: Talk) -> Prepared:
    """For `launch build`: nothing will run, so nothing is tracked."""
    state = state_dir().ensure()
    composed = _compose_timed(request, state, timings)
    return plan_and_build(composed, state, timings, talk=talk, runs_here=False)


def _compose_timed(request: Request, state: StateDir, timings: Timings) -> ComposedSpec:
    with timings.phase("compose"):
        composed = compose(request, state)
    timings.split("compose", "validate", composed.validate_s)
    return composed


def plan_and_build(
    composed: ComposedSpec,
    state: StateDir,
    timings: Timings,
    *,
    image: str | None = None,
    talk: Talk = Talk.NORMAL,
    runs_here: bool = True,
    may_wait: bool = True,
) -> Prepared:
    from launcher.cli.progress import passing_progress
    from launcher.plan.origins import origin_of
    from launcher.plan.planner import plan as make_plan

    with timings.phase("plan"), passing_progress(talk) as observer:
        plan = make_plan(composed, state=state, environ=os.environ, image=image, runs_here=runs_here, observer=observer)
    if not may_wait and plan.spec.cluster.kind != "local":
        from launcher.plan.cluster_request import refuse_impatience

        refuse_impatience(plan.spec, lambda key: origin_of(composed.origins, key))
    if plan.gpus and not may_wait:
        from launcher.run.gpus.gpu_queue import refuse_unless_free

        refuse_unless_free(plan)
    return build_image(plan, state, timings, talk=talk)


def start_local_server(spec: ExperimentSpec, state: StateDir) -> None:
    """Start the local MLflow server in the background unless it is up, not wanted or elsewhere. A bad address is exit 2."""
    if spec.tracking is None:
        return
    if spec.tracking.uri is not None:
        from launcher.tracking.mlflow.address import parse_uri

        parse_uri(spec.tracking.uri)
        return
    from launcher.tracking.mlflow.local_server import start_in_background

    start_in_background(state)


def build_image(plan: LaunchPlan, state: StateDir, timings: Timings, *, talk: Talk) -> Prepared:
    """Build what is missing, with progress for whoever watches."""
    from launcher.cli.progress import build_progress
    from launcher.cli.render import warn
    from launcher.plan.image_plan import sources
    from launcher.plan.images.recipe import attach_recipe

    for warning in () if talk is Talk.QUIET else plan.warnings:
        warn(warning)
    store = Store(state.store)
    if plan.spec.cluster.kind != "local" and talk is not Talk.QUIET and store.find_image(plan_key(plan.build)) is None:
        _warn_of_refusal(plan)

    def name_left_out() -> None:
        if talk is not Talk.QUIET:
            _name_left_out(plan, store)

    with timings.phase("build"), build_progress(plan.build, talk) as observer:
        if plan.spec.cluster.build == "job":
            from launcher.cli.cluster_build import build_in_job

            build_in_job(plan, state, observer=observer)
        needs = sources(plan, state=state, environ=os.environ)
        result = build(plan.build, store, sources=needs, observer=observer, before_steps=name_left_out)
    store.name_image(result.image, plan.spec.name)
    attach_recipe(result.image, store, build=plan.build, plan=plan)
    return Prepared(state, plan, result.image, result)


def _warn_of_refusal(plan: LaunchPlan) -> None:
    from launcher.cli.render import warn
    from launcher.cluster.submission import refusal

    words = refusal(plan)
    if words is not None:
        warn(f"{plan.spec.cluster.kind} would not take this job as things are: {words}")


def _name_left_out(plan: LaunchPlan, store: Store) -> None:
    """Before the first build of an experiment: what of its directory is not in the image, since git ignores it."""
    from launcher.cli.render import say
    from launcher.plan.code.left_out import include_hint, left_out_of, left_out_words

    if any(plan.spec.name in names for names in store.names_by_digest().values()):
        return
    left_out = left_out_of(plan.code, environ=os.environ)
    if left_out:
        say(f"not in the image, since git ignores it: {left_out_words(left_out)}")
        say(f"  {include_hint(left_out[0].path)}")
