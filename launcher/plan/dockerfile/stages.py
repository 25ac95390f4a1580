"""Stages of a Dockerfile: which one a name or a number means, which one is built, and whether its platform is here."""

from __future__ import annotations

from collections.abc import Sequence

from launcher.errors import ConfigError, Origin
from launcher.plan.dockerfile.document import Dockerfile, Stage
from runtime.build.plan import CopyFiles, RunCommand, StageFiles, Step
from runtime.light_dataclasses import replace
from runtime.suggestions import did_you_mean

SCRATCH = "scratch"

_ARCHITECTURES = {"x86_64": "amd64", "x86-64": "amd64", "aarch64": "arm64", "i386": "386"}


def target_stage(dockerfile: Dockerfile, target: str | None) -> int:
    """The number of the stage to build: a name, a number, or the last one."""
    stages = dockerfile.stages
    if target is None:
        return len(stages) - 1
    if target.isdecimal() and int(target) < len(stages):
        return int(target)
    found = stage_called(stages, target)
    if found is None:
        names = [stage.name for stage in stages if stage.name]
        there = f"its stages are {', '.join(f'`{name}`' for name in names)}" if names else "its stages have no names"
        hint = did_you_mean(target.lower(), names) or there
        raise ConfigError(f"the Dockerfile has no stage `{target}`", hint=hint)
    return found


def stage_called(stages: tuple[Stage, ...], name: str) -> int | None:
    """The number of the last of *stages* with that name; capitals don't count."""
    numbers = [number for number, stage in enumerate(stages) if stage.name == name.lower()]
    return numbers[-1] if numbers else None


def stage_before(dockerfile: Dockerfile, name: str, *, current: int, origin: Origin, by_number: bool) -> int | None:
    """The stage before *current* that *name* means; None: it means an image. *by_number*: `--from=0` is the first stage."""
    if by_number and name.isdecimal():
        if int(name) >= current:
            said = "is this stage itself" if int(name) == current else "does not stand before this one"
            raise ConfigError(f"stage {name} {said}", origin=origin, hint="stages are numbered from 0, in order")
        return int(name)
    found = stage_called(dockerfile.stages[:current], name)
    if found is None and by_number and stage_called(dockerfile.stages, name) is not None:
        raise ConfigError(f"the stage `{name}` has to stand before the one that copies from it", origin=origin)
    return found


def renumber(step: Step, numbers: Sequence[int]) -> Step:
    """*step* of another plan: its stage `n` is stage `numbers[n]` here."""
    if isinstance(step, CopyFiles) and isinstance(step.source, StageFiles):
        return replace(step, source=replace(step.source, stage=numbers[step.source.stage]))
    if isinstance(step, RunCommand) and any(mount.stage is not None for mount in step.mounts):
        mounts = (mount if mount.stage is None else replace(mount, stage=numbers[mount.stage]) for mount in step.mounts)
        return replace(step, mounts=tuple(mounts))
    return step


def check_platform(platform: str, *, architecture: str, origin: Origin) -> None:
    """Refuse a platform that is not this machine's: nothing of it could run here."""
    system, _, rest = platform.lower().partition("/")
    name = rest.partition("/")[0] if rest else system
    if (system == "linux" or not rest) and (_ARCHITECTURES.get(name, name) == architecture or platform.lower() == "linux"):
        return
    hint = f"leave `--platform` out, or build on a {platform} machine"
    raise ConfigError(f"`--platform={platform}` is not this machine's, `linux/{architecture}`", origin=origin, hint=hint)
