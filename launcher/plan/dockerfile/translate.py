"""From a parsed Dockerfile to steps of a build plan, with BuildKit's meaning (dockerfile2llb/convert.go).

Only the stages that the target needs are looked at. What is not supported is refused with its line, never skipped. Images are
pinned by whoever calls; files of the context are chosen and hashed here; files of other stages when they are built.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from launcher.errors import ConfigError, Origin
from launcher.plan.dockerfile.context import BuildContext
from launcher.plan.dockerfile.copy_instruction import copy_steps
from launcher.plan.dockerfile.document import Dockerfile, Instruction, Stage
from launcher.plan.dockerfile.expand import expand, unset_names
from launcher.plan.dockerfile.image_draft import ImageDraft, StageScope, apply_metadata, env_pairs, join_workdir
from launcher.plan.dockerfile.parse import parse_trigger
from launcher.plan.dockerfile.run_instruction import default_network, run_step
from launcher.plan.dockerfile.stages import SCRATCH, check_platform, renumber, stage_before, target_stage
from launcher.plan.dockerfile.variables import BuildArguments, Words
from runtime.build.plan import ImageConfig, MakeDirectory, Step
from runtime.light_dataclasses import dataclass, field
from runtime.oci.digest import Digest, digest_json

_LONGEST_LABEL = 100
_MAKES_STEPS = ("ADD", "COPY", "RUN", "WORKDIR")


@dataclass(frozen=True, slots=True)
class PinnedImage:
    """An image that a stage starts from, or whose files are copied."""

    steps: tuple[Step, ...]
    config: Mapping[str, Any]
    """The execution part of its configuration (config.md, "config"); empty for our own bases."""
    env: Mapping[str, str] = field(default_factory=dict)
    """Its environment where *config* is empty."""
    stages: tuple[tuple[Step, ...], ...] = ()
    """Those that *steps* refer to by number, where it was built here."""


Pin = Callable[[str, Origin], PinnedImage]


@dataclass(frozen=True, slots=True)
class TranslatedImage:
    """A Dockerfile in which nothing floats."""

    steps: tuple[Step, ...]
    stages: tuple[tuple[Step, ...], ...]
    """Stages and images that steps copy from or mount, as `BuildPlan.stages`."""
    config: ImageConfig
    files: tuple[tuple[str, int, str], ...]
    """(path, mode, sha256) of what was taken of the context."""
    context_digest: Digest
    """Of *files*."""
    size_bytes: int
    """Of *files*."""
    warnings: tuple[str, ...] = ()


def translate(
    dockerfile: Dockerfile,
    *,
    context: BuildContext,
    pin: Pin,
    architecture: str,
    target: str | None = None,
    args: Mapping[str, str] | None = None,
    network: str | None = None,
    gpu: str = "auto",
) -> TranslatedImage:
    """The image of *dockerfile*'s stage *target* (the last one). *args*: `--build-arg`. *network*: that of RUN. *gpu*: what a
    RUN that asks for GPUs gets (`image.gpu`)."""
    wanted = target_stage(dockerfile, target)
    name = target or dockerfile.stages[wanted].name or "default"
    arguments = BuildArguments(dockerfile, args or {}, architecture=architecture, target=name)
    made = _Translation(dockerfile, context, pin, architecture, arguments, default_network(network), gpu)
    for warning in dockerfile.warnings:
        made.warn(warning.message, warning.origin)
    stage = made.stage(wanted)
    if not stage.steps:
        # `FROM scratch` and configuration alone: one layer with nothing in it, since not every tool takes an image without any.
        stage.steps.append(MakeDirectory("/", label="FROM scratch"))
    context.save()
    files = tuple((path, *context.used[path]) for path in sorted(context.used))
    return TranslatedImage(
        steps=tuple(stage.steps),
        stages=tuple(made.plan_stages),
        config=stage.draft.to_config(architecture=architecture),
        files=files,
        context_digest=digest_json([list(file) for file in files]),
        size_bytes=context.size_bytes,
        warnings=(*made.warnings, *arguments.unknown(dockerfile)),
    )


@dataclass
class _Stage:
    """A stage as far as it has been read."""

    draft: ImageDraft
    variables: dict[str, str]
    """What words and RUN see: ENV and ARG, the later over the earlier."""
    steps: list[Step]


@dataclass(slots=True)
class _Translation:
    """One Dockerfile being translated: the stages that are done, and those of the build plan."""

    dockerfile: Dockerfile
    context: BuildContext
    pin: Pin
    architecture: str
    arguments: BuildArguments
    network: str
    gpu: str
    plan_stages: list[tuple[Step, ...]] = field(default_factory=list)
    warnings: dict[str, None] = field(default_factory=dict)
    done: dict[int, _Stage] = field(default_factory=dict)
    numbers: dict[tuple[Step, ...], int] = field(default_factory=dict)

    def warn(self, text: str, origin: Origin | None) -> None:
        self.warnings[f"{origin}: {text}" if origin is not None else text] = None

    def stage(self, number: int) -> _Stage:
        """Stage *number* of the Dockerfile, translated once."""
        if number not in self.done:
            self.done[number] = _StageReader(self, number).read()
        return self.done[number]

    def number_of(self, name: str, current: int, instruction: Instruction) -> int:
        """The number in the build plan of the stage or image that *instruction* of stage *current* names."""
        origin = instruction.origin
        found = stage_before(self.dockerfile, name, current=current, origin=origin, by_number=True)
        if found is not None:
            return self._register(tuple(self.stage(found).steps), name, origin)
        if name.lower() == SCRATCH:
            raise ConfigError("`scratch` has no files", origin=origin)
        return self._register(self._adopt(self.pin(name, origin)), name, origin)

    def _adopt(self, image: PinnedImage) -> tuple[Step, ...]:
        """The steps of *image*, the stages that they refer to being stages of this plan."""
        numbers: list[int] = []
        for stage in image.stages:
            numbers.append(self._register(tuple(renumber(step, numbers) for step in stage), "", Origin()))
        return tuple(renumber(step, numbers) for step in image.steps)

    def _register(self, steps: tuple[Step, ...], name: str, origin: Origin) -> int:
        if not steps:
            raise ConfigError(f"the stage `{name}` has no files", origin=origin)
        if steps not in self.numbers:
            self.numbers[steps] = len(self.plan_stages)
            self.plan_stages.append(steps)
        return self.numbers[steps]

    def begun(self, number: int) -> tuple[_Stage, bool]:
        """Stage *number* with what its FROM gives; and whether that is an image to be fetched."""
        stage = self.dockerfile.stages[number]
        scope, escape = self.arguments.global_scope, self.dockerfile.escape
        words = Words(scope, escape=escape, origin=stage.origin, warn=self.warn)
        base = words.one(stage.base)
        if not base:
            name = min(unset_names(stage.base, {}, escape=escape), default="NAME")
            hint = (
                f"give it a value: `image.args.{name}=…`, as `launch build --build-arg {name}=…`, or `ARG {name}=…` before FROM"
            )
            raise ConfigError(f"`{stage.base}` of FROM is empty", origin=stage.origin, hint=hint)
        if stage.platform is not None:
            check_platform(words.one(stage.platform), architecture=self.architecture, origin=stage.origin)
        earlier = stage_before(self.dockerfile, base, current=number, origin=stage.origin, by_number=False)
        if earlier is not None:
            parent = self.stage(earlier)
            return _Stage(parent.draft.for_child(), {**parent.variables, **parent.draft.env}, list(parent.steps)), False
        if base.lower() == SCRATCH:
            draft = ImageDraft()
            return _Stage(draft, dict(draft.env), []), False
        pinned = self.pin(base, stage.origin)
        draft = ImageDraft.of_base(pinned.config, pinned.env)
        return _Stage(draft, dict(draft.env), list(self._adopt(pinned))), True


class _StageReader:
    """Reads one stage, instruction by instruction."""

    def __init__(self, whole: _Translation, number: int) -> None:
        self._whole = whole
        self._number = number
        self._written: Stage = whole.dockerfile.stages[number]
        self._stage, self._fetches = whole.begun(number)
        self._scope = StageScope(
            self._stage.draft,
            self._stage.variables,
            whole.context,
            lambda name, instruction: whole.number_of(name, number, instruction),
            whole.dockerfile.escape,
            whole.warn,
        )
        self._position = 1 if self._fetches else 0
        self._total = 0

    def read(self) -> _Stage:
        triggers = [parse_trigger(text, origin=self._written.origin) for text in self._stage.draft.onbuild]
        self._stage.draft.onbuild = ()
        instructions = [*triggers, *self._written.instructions]
        self._total = self._position + sum(one.keyword in _MAKES_STEPS for one in instructions)
        for index, instruction in enumerate(instructions):
            self._apply(instruction, "ONBUILD " if index < len(triggers) else "")
        return self._stage

    def _apply(self, instruction: Instruction, prefix: str) -> None:
        stage, scope = self._stage, self._scope
        if apply_metadata(instruction, scope):
            return
        match instruction.keyword:
            case "ARG":
                self._arg(instruction)
            case "ENV":
                pairs = dict(env_pairs(instruction, scope.words(instruction)))
                stage.variables |= pairs
                stage.draft.env |= pairs
            case "WORKDIR":
                label = self._label(instruction, prefix)
                stage.draft.workdir = join_workdir(stage.draft.workdir, scope.words(instruction).one(instruction.words[0]))
                if stage.draft.workdir != "/":
                    stage.steps.append(MakeDirectory(stage.draft.workdir, owner=stage.draft.user, label=label))
            case "RUN":
                stage.steps.append(self._run(instruction, self._label(instruction, prefix)))
            case "COPY" | "ADD":
                stage.steps += copy_steps(instruction, scope, label=self._label(instruction, prefix))
            case unknown:
                raise ConfigError(f"{unknown} is not supported", origin=instruction.origin)

    def _arg(self, instruction: Instruction) -> None:
        stage, escape = self._stage, self._scope.escape
        for name, default in instruction.arguments():

            def expanded(default: str | None = default) -> str:
                return expand(default or "", stage.variables, escape=escape, origin=instruction.origin)

            value = self._whole.arguments.value_of(name, None if default is None else expanded)
            if value is not None:
                stage.variables[name] = value

    def _run(self, instruction: Instruction, label: str) -> Step:
        if not self._stage.steps:
            hint = "begin the stage `FROM` an image"
            raise ConfigError("RUN in an image without files has nothing to run", origin=instruction.origin, hint=hint)
        environment = {**self._whole.arguments.proxies, **self._stage.variables}
        network, gpu = self._whole.network, self._whole.gpu
        return run_step(instruction, self._scope, environment=environment, network=network, gpu=gpu, label=label)

    def _label(self, instruction: Instruction, prefix: str) -> str:
        """`[runtime 3/5] COPY train.py .`, as BuildKit shows it."""
        self._position += 1
        several = len(self._whole.dockerfile.stages) > 1
        name = f"{self._written.name or f'stage-{self._number}'} " if several else ""
        text = instruction.text
        if instruction.keyword == "RUN" and instruction.heredocs:
            text += f" ({instruction.heredocs[0].text.strip().partition(chr(10))[0]})"
        text = f"{prefix}{text}"
        shown = text if len(text) <= _LONGEST_LABEL else f"{text[: _LONGEST_LABEL - 1]}…"
        return f"[{name}{self._position}/{self._total}] {shown}"
