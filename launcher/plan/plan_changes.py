"""What changed from one build plan to the next: for each step of the new one, and what is gone.

Steps are paired first by what they are (a wheel's name, a directory), then, where that fails, in their order: a command that was
edited is a changed command and not one that went and one that came.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Sequence

from launcher.plan.step_changes import describe, env_changes, stage_name, step_changes, subject
from runtime.build.debian.debian_base import CONFIGURE
from runtime.build.plan import (
    BuildPlan,
    CopyFiles,
    CopyIn,
    ImageConfig,
    ImportImage,
    InstallTree,
    InstallWheel,
    MakeDirectory,
    RunCommand,
    RunMount,
    StageFiles,
    Step,
    UnpackDebs,
)
from runtime.light_dataclasses import dataclass, fields


@dataclass(frozen=True, slots=True)
class PlanChanges:
    """The changes in words, `SUBJECT: WHAT`."""

    steps: tuple[tuple[str, ...], ...]
    """For each step of the new plan; empty where its own inputs are as they were."""
    removed: tuple[str, ...]
    """Steps that are no more."""
    config: tuple[str, ...]
    """What changed in the image's configuration, for which no layer is made."""

    @property
    def all(self) -> tuple[str, ...]:
        """Every change once, bottom first."""
        made = (words for step in self.steps for words in step)
        return tuple(dict.fromkeys((*made, *self.removed, *self.config)))


def plan_changes(before: BuildPlan, now: BuildPlan) -> PlanChanges:
    """What makes *now* another plan than *before*."""
    stages = _stage_changes(before, now)
    changes, removed = _changed_steps(before.steps, now.steps)
    steps = [(*words, *_of_stages(step, stages)) for step, words in zip(now.steps, changes, strict=True)]
    return PlanChanges(tuple(steps), tuple(removed), tuple(_config_changes(before.config, now.config)))


def _changed_steps(before: Sequence[Step], now: Sequence[Step]) -> tuple[list[tuple[str, ...]], list[str]]:
    pairs = _pair(before, now)
    changes = []
    for position, step in enumerate(now):
        earlier = pairs.get(position)
        changes.append(step_changes(before[earlier], step) if earlier is not None else _came_or_went("+", step))
    gone = sorted(set(range(len(before))) - set(pairs.values()))
    return changes, [words for position in gone for words in _came_or_went("-", before[position])]


def _came_or_went(sign: str, step: Step) -> tuple[str, ...]:
    # That dpkg configures packages goes without saying where packages came.
    return () if step == CONFIGURE else (f"{subject(step)}: {sign} {describe(step)}",)


def _pair(before: Sequence[Step], now: Sequence[Step]) -> dict[int, int]:
    """Position in *now* → position in *before* of the same thing."""
    pairs: dict[int, int] = {}
    for identity in (_identity, _kind):
        waiting: defaultdict[Hashable, list[int]] = defaultdict(list)
        for position in sorted(set(range(len(before))) - set(pairs.values()), reverse=True):
            waiting[identity(before[position])].append(position)
        for position in range(len(now)):
            known = None if position in pairs else identity(now[position])
            if known is not None and waiting[known]:
                pairs[position] = waiting[known].pop()
    return pairs


_IDENTITIES: dict[type, tuple[str, ...]] = {
    UnpackDebs: ("onto_base",),
    InstallWheel: ("name",),
    InstallTree: ("name",),
    CopyIn: ("target",),
    RunCommand: ("argv", "stdin"),
    CopyFiles: ("target",),
    MakeDirectory: ("path",),
}
"""By which fields a step is the same thing in another plan; there is one imported image and one virtual environment."""


def _identity(step: Step) -> Hashable:
    kind = type(step)
    return (kind, *(getattr(step, name) for name in _IDENTITIES.get(kind, ())))


def _kind(step: Step) -> Hashable:
    """What two steps must share to be versions of one that was edited; None for a step that is known by its name."""
    match step:
        case InstallWheel():
            return None
        case ImportImage():
            return "base"
        case UnpackDebs():
            return "apt" if step.onto_base else "base"
        case RunCommand():
            return ("run", subject(step))
    return type(step).__name__


def _stage_changes(before: BuildPlan, now: BuildPlan) -> list[tuple[str, ...]]:
    """For each stage of *now* its changes, those of the stages that it takes files from included."""
    found: list[tuple[str, ...]] = []
    for number, steps in enumerate(now.stages):
        name = next((name for name in map(stage_name, steps) if name), str(number))
        if number >= len(before.stages):
            found.append((f"stage {name}: is new",))
            continue
        changes, removed = _changed_steps(before.stages[number], steps)
        own = [*(words for step in changes for words in step), *removed]
        others = [words for step in steps for words in _of_stages(step, found)]
        found.append(tuple(dict.fromkeys((*(f"stage {name}, {words}" for words in own), *others))))
    return found


def _of_stages(step: Step, stages: Sequence[tuple[str, ...]]) -> tuple[str, ...]:
    """The changes of the stages that *step* takes files from."""
    numbers: list[int | None] = []
    if isinstance(step, CopyFiles) and isinstance(step.source, StageFiles):
        numbers = [step.source.stage]
    elif isinstance(step, RunCommand):
        numbers = [mount.stage for mount in step.mounts if isinstance(mount, RunMount)]
    return tuple(dict.fromkeys(words for number in numbers if number is not None for words in stages[number]))


_NAMES = {"workdir": "workdir", "command": "CMD", "entrypoint": "ENTRYPOINT", "user": "USER", "labels": "LABEL"}


def _config_changes(before: ImageConfig, now: ImageConfig) -> list[str]:
    words = [f"env: {change.removeprefix('env ')}" for change in env_changes(before.env, now.env)]
    for field in fields(ImageConfig):
        old, new = getattr(before, field.name), getattr(now, field.name)
        if field.name != "env" and old != new:
            words.append(f"{_NAMES.get(field.name, field.name)}: {_display(old)} → {_display(new)}")
    return words


def _display(value: object) -> str:
    if isinstance(value, tuple):
        return " ".join(str(item) for item in value) or "(none)"
    return str(value) if value not in ("", None, {}) else "(none)"
