"""On a node: build the image of a plan that another machine has written down, into the store that both see."""

from __future__ import annotations

import json
import os
from pathlib import Path

from launcher.cluster.build_events import EventWriter
from launcher.errors import LaunchError
from launcher.plan.image_plan import sources
from launcher.plan.images.recipe import attach_recipe
from launcher.plan.launch_plan import LaunchPlan
from launcher.plan.plan_json import from_document
from runtime.build.builder import build
from runtime.errors import RuntimeFailure
from runtime.state_dir import StateDir
from runtime.store.scratch import make_place
from runtime.store.store import Store

PLAN = "plan.json"
EVENTS = "events.jsonl"
LOG = "job.log"


def main(directory: Path, home: Path) -> int:
    """Build what the plan in *directory* says, for LAUNCH_HOME *home*. A failure is the last event; a bug is in the log."""
    plan = from_document(json.loads((directory / PLAN).read_bytes()))
    events = EventWriter(directory / EVENTS, plan.build)
    try:
        image_digest = _build(plan, StateDir(home), events)
    except (LaunchError, RuntimeFailure) as error:
        events.write("failed", error=type(error).__name__, message=error.message, hint=error.hint)
        return 1
    events.write("finished", image_digest=image_digest)
    return 0


def _build(plan: LaunchPlan, state: StateDir, events: EventWriter) -> str:
    if plan.spec.cluster.scratch is not None:
        # Where a shared store has no room for containers.
        os.environ["TMPDIR"] = str(make_place(plan.spec.cluster.scratch, os.environ))
        os.environ.pop("SLURM_TMPDIR", None)
    store = Store(state.store)
    result = build(plan.build, store, sources=sources(plan, state=state, environ=os.environ), observer=events)
    store.name_image(result.image, plan.spec.name)
    attach_recipe(result.image, store, build=plan.build, plan=plan)
    store.confirm()
    return result.image.digest
