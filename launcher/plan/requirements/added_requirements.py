"""A recorded plan with requirements more: what `launch rerun RUN --with PKG` runs.

What was locked stays, file by file; only what the new requirements need beside it is chosen now. Its wheels lie on those that
were there, so that the layers of the recorded image are used again.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path

from launcher.config import amend
from launcher.config.overrides import WITH_GROUP
from launcher.errors import ConfigError, Origin
from launcher.plan.bases.pinned_base import BasePython
from launcher.plan.bases.pinning import Pinning
from launcher.plan.launch_plan import LaunchPlan, Lock, LockedWheel
from launcher.plan.planner import with_build
from launcher.plan.requirements.install_steps import install_step
from launcher.plan.requirements.requirement_lines import RequirementRequest
from launcher.plan.requirements.resolve import lock_digest, resolve
from runtime.build.plan import InstallWheel, MakeVenv, Step
from runtime.light_dataclasses import replace
from runtime.state_dir import StateDir


def with_requirements(
    plan: LaunchPlan, requirements: Sequence[str], *, state: StateDir, cwd: Path, environ: Mapping[str, str]
) -> LaunchPlan:
    """Raises ConfigError where they can't be had beside what is locked, and for images that have no environment of ours."""
    words = " ".join(f"--with {shlex.quote(requirement)}" for requirement in requirements)
    origin = Origin(override=words)
    lock, venv = plan.lock, next((step for step in plan.build.steps if isinstance(step, MakeVenv)), None)
    if lock is None or venv is None or venv.system_site_packages or lock.provided:
        what = "has no requirements of its own" if lock is None or venv is None else "has packages of its base beside its own"
        hint = f"`launch experiment={plan.spec.name} {words}` makes a new run with it"
        raise ConfigError(f"nothing can be added to the image of the record: it {what}", origin=origin, hint=hint)
    spec = amend.with_requirements(plan.spec, requirements, cwd=cwd)
    added = _resolve_added(plan, lock, requirements, Pinning(state, environ), cwd=cwd, origin=origin)
    wheels = (*lock.wheels, *added)
    build = replace(plan.build, steps=_steps(plan.build.steps, venv, added))
    return with_build(
        replace(plan, origins={**plan.origins, f"image.groups.{WITH_GROUP}.requirements": f"command line: {words}"}),
        spec,
        lock=replace(lock, wheels=wheels, digest=lock_digest(wheels), source="resolved"),
        build=build,
    )


def _resolve_added(
    plan: LaunchPlan, lock: Lock, requirements: Sequence[str], pinning: Pinning, *, cwd: Path, origin: Origin
) -> tuple[LockedWheel, ...]:
    """The files that *requirements* need beside those of *lock*."""
    try:
        # What the code's own packages need is pinned itself.
        lines = [*(wheel.exact for wheel in lock.wheels if wheel.directory is None), *requirements]
        request = RequirementRequest(lines, cwd, plan.spec.image.index, _cuda(lock.torch))
        found = resolve(request, BasePython(lock.python, lock.platform), pinning)
    except ConfigError as error:
        raise ConfigError(
            f"it can't be had beside what the run had, which stays as it was: {error.message}",
            origin=origin,
            hint=error.hint or f"`launch experiment={plan.spec.name}` with it resolves all versions anew",
        ) from error
    known = {wheel.name for wheel in lock.wheels}
    return tuple(wheel for wheel in found.wheels if wheel.name not in known)


def _cuda(torch: str | None) -> str | None:
    """`image.cuda` for a variant of torch: `cu128` → `12.8`."""
    return f"{torch[2:-1]}.{torch[-1]}" if torch is not None and torch.startswith("cu") else torch


def _steps(steps: Sequence[Step], venv: MakeVenv, added: Sequence[LockedWheel]) -> tuple[Step, ...]:
    """The wheels after the last one that is there."""
    last = max(number for number, step in enumerate(steps) if isinstance(step, InstallWheel | MakeVenv))
    new = (install_step(wheel, venv) for wheel in added)
    return (*steps[: last + 1], *new, *steps[last + 1 :])
