"""The plan of a recorded run, as it was or with other parameters. Building its image and running it are as for any plan."""

from __future__ import annotations

import json
from pathlib import Path

from launcher.errors import ConfigError
from launcher.plan.launch_plan import LaunchPlan
from launcher.plan.plan_json import from_document
from launcher.plan.planner import with_spec
from launcher.tracking.record import RunRecord
from runtime.state_dir import StateDir


def recorded_plan(record: RunRecord, overrides: tuple[str, ...], *, state: StateDir, cwd: Path) -> LaunchPlan:
    """The plan of *record*; image and code stay, *overrides* change the rest."""
    try:
        document = json.loads(record.run_dir.plan.read_bytes())
    except FileNotFoundError:
        hint = "`launch runs` shows the trials of a sweep: rerun one of them"
        raise ConfigError(f"run `{record.run_id}` has no plan of its own", hint=hint) from None
    plan = from_document(document["plan"])
    if not overrides:
        return plan
    from launcher.config.amend import amend

    spec = amend(plan.spec, overrides, cwd=cwd)
    return with_spec(plan, spec, overrides=(*plan.overrides, *overrides), state=state)
