"""From a spec and its pins to the steps of an image, and to where the steps' inputs come from.

Order, so that what changes often is above what changes seldom: base, apt packages, the virtual environment, one layer for each
wheel, `image.run`, code. Parameters, command and environment of the program are not in the image: changing them builds nothing.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from functools import partial
from pathlib import Path

from launcher.config.spec import ExperimentSpec, Image
from launcher.plan.bases.pinned_base import Base
from launcher.plan.launch_plan import CodeSnapshot, LaunchPlan, Lock, LockedWheel
from launcher.plan.program.workdir import workspace_of
from launcher.plan.requirements.install_steps import CodeInImage, install_step
from runtime.build.cache_key import own_fields, stage_digests
from runtime.build.plan import BuildPlan, CopyIn, ImageConfig, MakeVenv, RunCommand, Step, UnpackDebs
from runtime.build.sources import BuildSources, DebianSource, WheelSource
from runtime.light_dataclasses import replace
from runtime.oci.digest import digest_json
from runtime.state_dir import StateDir

LEFT_OVERS = (
    "var/cache/apt/archives/**",
    "var/lib/apt/lists/**",
    "root/.cache/**",
    "tmp/**",
)
"""What such commands leave behind that is large and not their result. Each is whole by itself; instructions of a Dockerfile
are not and may build upon each other's caches. What differs from run to run is `runtime.build.run.changed_tree`."""

RUN_NETWORK = "host"
"""`image.run` and apt may download. One value for all machines, since it is part of the step's key."""


_SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def apt_packages(image: Image) -> tuple[str, ...]:
    """`image.apt` and that of every group, once each, in order."""
    return tuple(dict.fromkeys((*image.apt, *(name for group in image.groups.values() for name in group.apt))))


def build_plan(
    spec: ExperimentSpec,
    base: Base,
    lock: Lock | None,
    code: CodeSnapshot,
    *,
    workdir: str,
    copy_code: bool = True,
    gpu: str = "",
) -> BuildPlan:
    """The steps of the image of *spec*. Not *copy_code*: the base has it already. *gpu*: the architecture of the one that its
    commands see."""
    env = image_env(spec.image, base, lock)
    target = workspace_of(workdir)
    in_image = CodeInImage(code, target) if copy_code else None
    steps = [*base.steps, *_python_steps(base, lock, in_image)]
    steps += [_run_step(command, env, gpu=gpu) for command in _run_commands(spec.image)]
    if code.files and copy_code:
        steps.append(CopyIn(code.root, code.files, target=target, snapshot_digest=code.digest))
    steps += [_run_step(command, env, cwd=target, gpu=gpu) for command in spec.code.setup]
    config = base.image_config or ImageConfig(architecture=base.architecture)
    return BuildPlan(steps=tuple(steps), config=replace(config, env=env, workdir=workdir), stages=base.stages)


def image_env(image: Image, base: Base, lock: Lock | None) -> dict[str, str]:
    """The image's own environment: the base's, ours, then `image.env`."""
    ours = {"PATH": _SYSTEM_PATH} if base.image_config is not None else {"PATH": _SYSTEM_PATH, "LANG": "C.UTF-8"}
    env = ours | base.env
    if _has_venv(base, lock):
        env |= {"PATH": f"{base.venv}/bin:{env['PATH']}", "VIRTUAL_ENV": base.venv}
    return env | image.env


def _has_venv(base: Base, lock: Lock | None) -> bool:
    """An image that others made has its own idea of where Python is, until requirements come on top."""
    return base.interpreter is not None and (not base.has_own_python or (lock is not None and bool(lock.wheels)))


def _python_steps(base: Base, lock: Lock | None, code: CodeInImage | None) -> list[Step]:
    python = base.interpreter
    if python is None or not _has_venv(base, lock):
        return []
    wheels = lock.wheels if lock is not None else ()
    venv = MakeVenv(
        interpreter=python.build_id,
        executable=python.executable,
        version=python.version,
        system_site_packages=base.has_own_python,
        site_directories=base.python_packages,
        prefix=base.venv,
        base_env=tuple(sorted(base.env.items())),
    )
    return [venv, *(install_step(wheel, venv, built_on=_built_on(base, wheel), code=code) for wheel in wheels)]


def _built_on(base: Base, wheel: LockedWheel) -> str:
    """What a build on *base* may use of it. A tree is built for this project alone, so its compiler and libraries count, too."""
    if wheel.is_tree:
        stages = stage_digests(BuildPlan(base.steps, ImageConfig(), stages=base.stages))
        return digest_json([own_fields(step, stages) for step in base.steps])
    return base.digest if base.has_own_python else ""


def _run_commands(image: Image) -> list[str]:
    return [*image.run, *(command for group in image.groups.values() for command in group.run)]


def _run_step(command: str, env: Mapping[str, str], *, cwd: str = "/", gpu: str = "") -> RunCommand:
    return RunCommand(
        argv=("/bin/sh", "-ec", command),
        env=tuple(sorted({"HOME": "/root", "DEBIAN_FRONTEND": "noninteractive", **env}.items())),
        network=RUN_NETWORK,
        cwd=cwd,
        label=command if len(command) <= 60 else f"{command[:57]}...",
        drop=LEFT_OVERS,
        gpu=gpu,
    )


def sources(plan: LaunchPlan, *, state: StateDir, environ: Mapping[str, str]) -> BuildSources:
    """Where the inputs of *plan*'s steps come from."""
    return BuildSources(
        debian=partial(debian_source_of, plan.build.all_steps, plan.spec.image, state=state, environ=environ),
        mirror=plan.spec.image.mirror,
        wheels=partial(_wheels, plan, environ),
        secrets=build_secrets(plan.spec, environ),
        cache_mounts=build_mounts(state),
    )


def build_secrets(spec: ExperimentSpec, environ: Mapping[str, str]) -> dict[str, bytes]:
    """What `RUN --mount=type=secret,id=NAME` of the experiment's Dockerfile may see: its `secrets`, by their names."""
    if spec.image.dockerfile is None:
        return {}
    return {name: os.fsencode(environ[name]) for name in spec.secrets if name in environ}


def build_mounts(state: StateDir) -> Path:
    """Where `RUN --mount=type=cache` keeps its files between builds."""
    return state.cache / "build-mounts"


def debian_source_of(steps: Iterable[Step], image: Image, *, state: StateDir, environ: Mapping[str, str]) -> DebianSource | None:
    """Archives for the Debian base of *steps*, if they have one. Where no archive is known the build says so, if it needs one."""
    suite = next((step.suite for step in steps if isinstance(step, UnpackDebs)), None)
    if suite is None:
        return None
    from runtime.build.debian.apt_sources import debian_source
    from runtime.errors import BuildError

    cache_dir = state.cache / "debian"
    try:
        return debian_source(suite, mirror=image.mirror, environ=environ, cache_dir=cache_dir)
    except BuildError:
        return DebianSource(archives={}, cache_dir=cache_dir)


def _wheels(plan: LaunchPlan, environ: Mapping[str, str]) -> WheelSource | None:
    if plan.lock is None or not plan.lock.wheels:
        return None
    from launcher.plan.requirements.requirement_lines import RequirementRequest
    from launcher.plan.requirements.resolve import wheel_source

    return wheel_source(plan.lock, RequirementRequest.of(plan.spec.image, plan.code.root), environ=environ)
