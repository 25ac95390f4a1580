"""The plan of a recorded run, as it was or with other parameters. Building its image and running it are as for any plan."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from launcher.errors import ConfigError, LaunchError
from launcher.plan.data_pin import changed_data, refuse_missing_inputs
from launcher.plan.launch_plan import LaunchPlan
from launcher.plan.plan_json import from_document
from launcher.plan.planner import with_data, with_spec
from launcher.tracking.record.run_record import RunRecord
from runtime.build.cache_key import plan_key
from runtime.light_dataclasses import dataclass, replace
from runtime.state_dir import StateDir
from runtime.store.store import Store


@dataclass(frozen=True, slots=True)
class Again:
    """What a rerun runs."""

    plan: LaunchPlan
    changed: tuple[str, ...]
    """Data that is not what it was, in words."""


def recorded_plan(record: RunRecord, *, state: StateDir) -> LaunchPlan:
    """The plan of *record*. Where its image is no more, the code comes from the record, too."""
    try:
        document = json.loads(record.run_dir.plan.read_bytes())
    except FileNotFoundError:
        hint = "`launch runs` shows the trials of a sweep: rerun one of them"
        raise ConfigError(f"run `{record.run_id}` has no plan of its own", hint=hint) from None
    try:
        plan = from_document(document["plan"])
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise LaunchError(f"the plan of run `{record.run_id}` cannot be read: {type(error).__name__}: {error}") from error
    if Store(state.store).find_image(plan_key(plan.build)) is not None:
        return plan
    from launcher.plan.code.recorded_code import with_restored_code

    return with_restored_code(plan, recorded_code(record), cache_dir=state.cache)


def recorded_code(record: RunRecord) -> Path:
    """The archive of a run's code, where its image had some."""
    return record.run_dir.root / "code.tar"


def plan_with(plan: LaunchPlan, overrides: tuple[str, ...], *, cwd: Path) -> LaunchPlan:
    """*plan* as *overrides* say it: for looking at before anything of this machine is."""
    if not overrides:
        return plan
    from launcher.config.amend import amend

    return replace(plan, spec=amend(plan.spec, overrides, cwd=cwd))


def plan_again(
    plan: LaunchPlan,
    overrides: tuple[str, ...],
    *,
    code: Path,
    requirements: tuple[str, ...] = (),
    state: StateDir,
    cwd: Path,
    environ: Mapping[str, str],
) -> Again:
    """The recorded *plan* for another run: *overrides* change it, *requirements* come on top of its image, the code stays that of
    the archive *code*, data is what it is now."""
    if requirements:
        from launcher.plan.code.recorded_code import with_restored_code
        from launcher.plan.requirements.added_requirements import with_requirements

        plan = with_restored_code(plan, code, cache_dir=state.cache)
        plan = with_requirements(plan, requirements, state=state, cwd=cwd, environ=environ)
    if overrides:
        spec = plan_with(plan, overrides, cwd=cwd).spec
        origins = {**plan.origins, **{text.partition("=")[0]: f"command line: {text}" for text in overrides}}
        plan = replace(plan, origins=origins)
        refuse_missing_inputs(replace(plan, spec=spec), environ=environ)
        plan = with_spec(plan, spec, overrides=(*plan.overrides, *overrides), state=state)
    refuse_missing_inputs(plan, environ=environ)
    changed = changed_data(plan, state=state)
    return Again(with_data(plan, state=state) if changed else plan, changed)
