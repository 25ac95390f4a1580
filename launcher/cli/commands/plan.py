"""`launch plan experiment=NAME …`: what would be built and run, hit or miss for each layer, and why. Nothing is touched.

With `--dockerfile DIR` the image is built and written as a Dockerfile.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from launcher.cli import arguments as args
from launcher.cli import render

if TYPE_CHECKING:
    from launcher.plan.launch_plan import LaunchPlan
    from runtime.state_dir import StateDir


def main(arguments: Sequence[str]) -> int:
    parser = args.Parser(
        "plan", "Show what would be built and run.", usage="experiment=NAME [KEY=VALUE ...] [--json | --dockerfile DIR]"
    )
    args.add_experiment_options(parser)
    output = parser.add_mutually_exclusive_group()
    output.add_argument("--json", action="store_true", help="the plan as JSON on stdout")
    output.add_argument(
        "--dockerfile", metavar="DIR", type=Path, help="build the image and write it as a Dockerfile with its context into DIR"
    )
    options, request = args.parse(parser, arguments)
    if options.dockerfile is not None:
        from launcher.cli.dockerfile.output import write_dockerfile

        return write_dockerfile(request, options.dockerfile)
    return show_plan(request, as_json=options.json)


def show_plan(request: args.Request, *, as_json: bool) -> int:
    from launcher.cli.prepare import compose
    from launcher.cli.progress import planning_progress
    from launcher.plan.explain import explain
    from launcher.plan.planner import plan as make_plan
    from runtime.state_dir import state_dir
    from runtime.store.store import Store

    state = state_dir()
    composed = compose(request, state)
    with planning_progress() as observer:
        plan = make_plan(composed, state=state, environ=os.environ, cwd=Path.cwd(), runs_here=False, observer=observer)
    explained = explain(plan, Store(state.store))
    job = _job_of(plan, state)
    if as_json:
        json.dump(explained.to_json() | ({} if job is None else {"job": job}), sys.stdout, indent=2)
        print()
        return 0
    for warning in plan.warnings:
        render.warn(warning)
    print(explained.text())
    if job is not None:
        print(f"\nThe job, as `{plan.spec.cluster.kind}` would be given it (RUN is the id of the run):\n")
        print(job, end="")
    return 0


def _job_of(plan: LaunchPlan, state: StateDir) -> str | None:
    """What a cluster would be given; None for this machine."""
    if plan.spec.cluster.kind == "local":
        return None
    from launcher.cluster.submission import script_of

    return script_of(plan, state.run("RUN"))
