"""The steps of one stage as instructions, each under a comment that says what it is.

What instructions can say is said so; what only our own builder can make (packages, wheels) comes as an archive of its layer.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby
from typing import Any

from launcher.plan.dockerfile_export.config_text import env_text
from launcher.plan.dockerfile_export.context_folder import ContextFolder
from launcher.plan.dockerfile_export.copy_text import copy_text
from launcher.plan.dockerfile_export.mount_flags import mount_flags
from launcher.plan.dockerfile_export.quoting import Unwritable, bare, words
from launcher.plan.dockerfile_export.run_text import environment, instruction, removal, run_text
from runtime.build.cache_key import step_key
from runtime.build.plan import (
    CopyFiles,
    CopyIn,
    ImportImage,
    InstallWheel,
    MakeDirectory,
    MakeVenv,
    RunCommand,
    Step,
    UnpackDebs,
)
from runtime.build.step_label import counted, step_label
from runtime.layer.diff import matcher
from runtime.oci.reference import Remote, parse_reference
from runtime.registry.pull import shown_reference
from runtime.store.merged_tree import MergedTree, merged_tree
from runtime.store.records import Layer
from runtime.store.store import Store

MOST_LAYERS = 90
"""What the image has at most: some tools stop at 100, and the user's own instructions need room."""


@dataclass(slots=True)
class StageState:
    """What holds at some place of a stage."""

    user: str = ""
    cwd: str = "/"
    env: dict[str, str] = field(default_factory=dict)
    layers: tuple[Layer, ...] = ()
    """Of our own build, at that place."""


@dataclass(slots=True)
class StageWriter:
    """Writes one stage. *config_env* is the ENV of the image, for the stage that is the image."""

    store: Store
    folder: ContextFolder
    stage_name: Callable[[int], str]
    warnings: list[str]
    config_env: Mapping[str, str] = field(default_factory=dict)
    lines: list[str] = field(default_factory=list)
    state: StageState = field(default_factory=StageState)
    _env_is_set: bool = False

    def begin(self, steps: Sequence[Step], layers: Sequence[tuple[Layer, ...]], *, name: str | None) -> int:
        """FROM; how many of *steps* it stands for."""
        suffix = f" AS {name}" if name else ""
        first = steps[0]
        execution = self._pulled(first)
        if execution is None or not isinstance(first, ImportImage):
            self.lines.append(f"FROM scratch{suffix}")
            self.state = StageState()
            return 0
        parsed = parse_reference(first.reference)
        assert isinstance(parsed, Remote)
        pinned = shown_reference(replace(parsed, tag=None, digest=first.manifest_digest))
        self.lines += [f"FROM {pinned}{suffix}", 'SHELL ["/bin/sh", "-c"]']
        env = dict(pair.split("=", 1) for pair in execution.get("Env") or ())
        self.state = StageState(execution.get("User") or "", execution.get("WorkingDir") or "/", env, tuple(layers[0]))
        return 1

    def begin_from(self, stage: str, state: StageState, *, name: str | None) -> None:
        """FROM an earlier stage, which ended in *state*."""
        self.lines.append(f"FROM {stage}{f' AS {name}' if name else ''}")
        self.state = replace(state, env=dict(state.env))

    def write(self, steps: Sequence[Step], layers: Sequence[tuple[Layer, ...]]) -> None:
        """The instructions of *steps*, whose layers are *layers*."""
        wheels = sum(isinstance(step, InstallWheel) for step in steps)
        room = max(1, MOST_LAYERS - len(self.state.layers) - len(steps) + wheels)
        for are_wheels, group in groupby(zip(steps, layers, strict=True), key=lambda one: isinstance(one[0], InstallWheel)):
            together = list(group)
            if are_wheels:
                self._wheels(together, at_once=-(-wheels // room))
            for step, made in together:
                if not are_wheels:
                    self._comment(step_label(step))
                    self._step(step, made)
                self.state.layers += made

    def set_env(self) -> None:
        """ENV, unless it stands there already."""
        if not self._env_is_set:
            self.lines += env_text(self.config_env, self.warnings)
            self.state.env |= self.config_env
            self._env_is_set = True

    # Steps

    def _step(self, step: Step, made: tuple[Layer, ...]) -> None:
        try:
            match step:
                case RunCommand() if self._tree().resolve("bin/sh") is not None:
                    self._run(step)
                case CopyIn():
                    files = [(path, path, mode, sha256) for path, mode, sha256 in step.files]
                    code = self.folder.files(step.source, files, "code")
                    self.lines.append(f"COPY {words([f'{code}/', step.target.rstrip('/') + '/'])}")
                case CopyFiles() if (text := copy_text(step, self.folder, self.stage_name)) is not None:
                    self.lines.append(text)
                case MakeDirectory():
                    self._directory(step, made[0])
                case _:
                    self._archive(step, made)
        except Unwritable:
            self._archive(step, made)

    def _run(self, step: RunCommand) -> None:
        if not self._env_is_set and self.config_env and self.config_env.items() <= environment(step).items():
            self.set_env()
        self._become(step.user or "0")
        mounts = [mount_flags(mount, self.folder, self.stage_name) for mount in step.mounts]
        dropped = matcher(step.drop)
        tree = self._tree()
        there = [entry for entry in tree if dropped(entry.path)]
        simple = all((entry.type, entry.mode, entry.uid, entry.gid) == ("dir", 0o755, 0, 0) for entry in there)
        leaves = [f"/{entry.path}" for entry in there if not any(one.path.startswith(f"{entry.path}/") for one in there)]
        after = removal(step.drop, leaves if simple else [])
        # What is mounted while the command runs must not be emptied, and only root may remove everything.
        apart = bool(step.mounts) or step.user not in ("", "0", "root")
        self.lines.append(run_text(step, env=self.state.env, cwd=self.state.cwd, mounts=mounts, after=[] if apart else after))
        if apart and after:
            self._become("0")
            self.lines.append(instruction(after))
        if there and not simple:
            kept = self.folder.entries(tree, there, self.state.layers, "layers/what-was-there")
            self.lines.append(f"ADD {words([kept, '/'])}")

    def _directory(self, step: MakeDirectory, made: Layer) -> None:
        """WORKDIR makes directories of root; those of somebody else are made by a command."""
        new = [entry for entry in self.store.tree_of(made) if self._tree().get(entry.path) is None]
        owned = [entry for entry in new if entry.uid or entry.gid]
        if owned:
            self._become("0")
            owners = {(entry.uid, entry.gid) for entry in owned}
            paths = words([f"/{entry.path}" for entry in owned])
            ((uid, gid),) = owners
            self.lines.append(f"RUN mkdir -p {bare(step.path)} && chown {uid}:{gid} {paths}")
        self.lines.append(f"WORKDIR {bare(step.path)}")
        self.state.cwd = step.path

    def _wheels(self, wheels: Sequence[tuple[Step, tuple[Layer, ...]]], *, at_once: int) -> None:
        self._comment(counted(len(wheels), "wheel"))
        names = [self.folder.layer(layer, f"wheels/{layer.label.replace(' ', '-')}") for _, (layer,) in wheels]
        for start in range(0, len(names), at_once):
            self.lines.append(f"ADD {' '.join([*names[start : start + at_once], '/'])}")

    def _archive(self, step: Step, made: Sequence[Layer]) -> None:
        """*step* as the archive of its layers, with what they delete deleted before."""
        if len(made) > 1:
            tree = merged_tree(self.store, made)
            self.lines.append(f"ADD {words([self.folder.merged(tree, made, f'layers/{_archive_name(step)}'), '/'])}")
            return
        (layer,) = made
        gone = [f"/{entry.path}" for entry in self.store.tree_of(layer) if entry.type == "whiteout"]
        if gone:
            self._become("0")
            self.lines.append("RUN rm -rf " + " \\\n    ".join(words([path]) for path in gone))
        self.lines.append(f"ADD {words([self.folder.layer(layer, f'layers/{_archive_name(step)}'), '/'])}")

    def _become(self, user: str) -> None:
        if user != (self.state.user or "0"):
            self.lines.append(f"USER {bare(user)}")
            self.state.user = user

    def _comment(self, text: str) -> None:
        plain = "".join(char if char.isprintable() else " " for char in text)
        self.lines += ["", f"# {plain}"]

    def _tree(self) -> MergedTree:
        return merged_tree(self.store, self.state.layers)

    def _pulled(self, step: Step) -> dict[str, Any] | None:
        """The execution part of the configuration of an image that FROM can name; None: its layers have to come as an archive.

        Not for an image that acts on a build: triggers would run, and changes below volumes would be lost."""
        if not isinstance(step, ImportImage) or not isinstance(parse_reference(step.reference), Remote):
            return None
        document = (self.store.key_fields(step_key(step, None)) or {}).get("config")
        execution = (document or {}).get("config") or {}
        return None if document is None or execution.get("OnBuild") or execution.get("Volumes") else execution


def _archive_name(step: Step) -> str:
    match step:
        case UnpackDebs():
            return f"debian-{step.suite}{'-more' if step.onto_base else ''}"
        case ImportImage():
            return step.reference.rpartition("/")[2].partition("@")[0]
        case MakeVenv():
            return f"venv-python-{step.version}"
    return step_label(step).split("] ")[-1][:40].lower()
