"""The steps of one stage as instructions, each under a comment that says what it is.

What instructions can say is said so; what only our own builder can make (packages, wheels) comes as an archive of its layer.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

from launcher.plan.dockerfile_export.context_folder import ContextFolder
from launcher.plan.dockerfile_export.instruction_text import (
    Unwritable,
    bare,
    copy_text,
    env_text,
    instruction,
    mount_flags,
    removal,
    removal_globs,
    run_text,
    shell_word,
    value,
    words,
)
from runtime.build.cache_key import step_key
from runtime.build.debian.root_skeleton import APT_SOURCE
from runtime.build.debian.shown_archive import ShownArchive
from runtime.build.image_users import resolve_user
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
    env_of,
)
from runtime.build.run.apply_run_command import ENVIRONMENT
from runtime.build.step_label import step_label
from runtime.http.proxies import without_user_info
from runtime.layer.diff import matcher
from runtime.layer.tree import TreeEntry
from runtime.light_dataclasses import dataclass, field, replace
from runtime.oci.reference import Remote, parse_reference, shown_reference
from runtime.plurals import counted
from runtime.store.merged_tree import MergedTree, merged_tree
from runtime.store.records import Layer
from runtime.store.store import Store

ArchiveShown = Callable[[Sequence[Path]], ShownArchive | None]
"""The Debian archive that our own build shows to commands on these layers, bottom first."""

MOST_LAYERS = 90
"""What the image has at most: some tools stop at 100, and the user's own instructions need room."""

_PATHS_AT_ONCE = 500
"""So that a command line stays below what the kernel takes as one argument (128 KiB)."""


@dataclass(slots=True)
class StageState:
    """What holds at some place of a stage."""

    user: str = ""
    cwd: str = "/"
    env: dict[str, str] = field(default_factory=dict)
    """ENV, and the builder's own PATH."""
    args: dict[str, str] = field(default_factory=dict)
    """ARG, which end with the stage."""
    layers: tuple[Layer, ...] = ()
    """Of our own build, at that place."""
    left_out: dict[tuple[str, ...], str] = field(default_factory=dict)
    """`RunCommand.drop` → the ARG that holds it."""


@dataclass(slots=True)
class StageWriter:
    """Writes one stage. *config_env* is the ENV of the image, for the stage that is the image."""

    store: Store
    folder: ContextFolder
    stage_name: Callable[[int], str]
    warnings: list[str]
    config_env: Mapping[str, str] = field(default_factory=dict)
    archive: ArchiveShown = field(default=lambda layers: None)
    lines: list[str] = field(default_factory=list)
    state: StageState = field(default_factory=StageState)
    _env_is_set: bool = False
    _from_scratch: str = "FROM scratch"

    def begin(self, steps: Sequence[Step], layers: Sequence[tuple[Layer, ...]], *, name: str | None) -> int:
        """FROM; how many of *steps* it stands for."""
        suffix = f" AS {name}" if name else ""
        self._from_scratch = f"FROM scratch{suffix}"
        first = steps[0]
        execution = self._pulled_config(first)
        if execution is None or not isinstance(first, ImportImage):
            self.lines.append(self._from_scratch)
            self.state = StageState(env={"PATH": ENVIRONMENT["PATH"]})
            return 0
        parsed = parse_reference(first.reference)
        assert isinstance(parsed, Remote)
        pinned = shown_reference(replace(parsed, tag=None, digest=first.manifest_digest))
        self.lines += [f"FROM {pinned}{suffix}", 'SHELL ["/bin/sh", "-c"]']
        env = {"PATH": ENVIRONMENT["PATH"], **env_of(execution)}
        self.state = StageState(execution.get("User") or "", execution.get("WorkingDir") or "/", env, layers=layers[0])
        return 1

    def begin_from(self, stage: str, state: StageState, *, name: str | None) -> None:
        """FROM an earlier stage, which ended in *state*."""
        suffix = f" AS {name}" if name else ""
        self._from_scratch = f"FROM scratch{suffix}"
        self.lines.append(f"FROM {stage}{suffix}")
        self.state = StageState(state.user, state.cwd, dict(state.env), layers=state.layers)

    def write(self, steps: Sequence[Step], layers: Sequence[tuple[Layer, ...]]) -> None:
        """The instructions of *steps*, whose layers are *layers*."""
        # A command may take two more: what it leaves is removed, what was there is put back.
        others = sum(3 if isinstance(step, RunCommand) else 1 for step in steps if not isinstance(step, InstallWheel))
        room = max(1, MOST_LAYERS - len(self.state.layers) - others)
        for are_wheels, group in groupby(zip(steps, layers, strict=True), key=lambda one: isinstance(one[0], InstallWheel)):
            together = list(group)
            if are_wheels:
                self._wheels(together, at_once=-(-len(together) // room))
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
                case RunCommand() if self._has_shell():
                    self._run(step, made[0])
                case CopyIn():
                    files = [(path, path, mode, sha256) for path, mode, sha256 in step.files]
                    code = self.folder.files(step.source, files, "code")
                    self.lines.append(f"COPY {words([f'{code}/', step.target.rstrip('/') + '/'])}")
                case CopyFiles() if not self._replaces_link(step):
                    text = copy_text(step, self.folder, self.stage_name)
                    if text is None:
                        self._archive(step, made)
                    else:
                        self.lines.append(text)
                case MakeDirectory() if (owned := self._owned_directories(made[0])) is not None:
                    self._directory(step, owned)
                case _:
                    self._archive(step, made)
        except Unwritable:
            self._archive(step, made)

    def _run(self, step: RunCommand, made: Layer) -> None:
        wanted = self._environment(step)
        if not self._env_is_set and self.config_env and self.config_env.items() <= wanted.items():
            self.set_env()
        self._set_args(wanted)
        tidy, kept = self._tidy(step, made)
        self._become(step.user or "0")
        mounts = [mount_flags(mount, self.folder, self.stage_name) for mount in step.mounts]
        source = [*self._apt_source(step, made), *self._gpu(step)]
        # What is mounted while the command runs must not be emptied, and only root may remove everything.
        is_stub = bool(source) and _first_missing(APT_SOURCE, self._tree()) is not None
        apart = bool(mounts) or is_stub or step.user not in ("", "0", "root")
        env = self.state.args | self.state.env
        after = [] if apart else tidy
        self.lines.append(run_text(step, wanted=wanted, env=env, cwd=self.state.cwd, mounts=[*mounts, *source], after=after))
        if apart and tidy:
            self._become("0")
            self.lines.append(instruction(tidy))
        if kept:
            archive = self.folder.entries(self._tree(), kept, self.state.layers, "layers/what-was-there")
            self.lines.append(f"ADD {words([archive, '/'])}")

    def _apt_source(self, step: RunCommand, made: Layer) -> list[str]:
        """The flag that shows apt the Debian archive, as our own build does for an image that names none."""
        shown = self._shown_archive(step)
        if shown is None:
            return []
        if any(f"/{entry.path}" == APT_SOURCE for entry in self.store.tree_of(made)):
            raise Unwritable("a command changes the file that would be mounted")
        text = without_user_info(shown.source.decode())
        name = f"{self.folder.texts([('debian.sources', text)], 'apt')}/debian.sources"
        warning = f"commands find Debian's archive in `{name}`: this machine's addresses, for you to change"
        if warning not in self.warnings:
            self.warnings.append(warning)
        return [f"--mount=type=bind,source={name},target={APT_SOURCE}"]

    def _gpu(self, step: RunCommand) -> list[str]:
        """The flag that asks for the GPUs of whoever builds it."""
        if not step.gpu:
            return []
        warning = f"`RUN --device` takes `# syntax=docker/dockerfile:labs`, `docker build --allow device`, and a GPU `{step.gpu}`"
        if warning not in self.warnings:
            self.warnings.append(warning)
        return [f"--device={'amd.com' if step.gpu.startswith('gfx') else 'nvidia.com'}/gpu=all,required"]

    def _shown_archive(self, step: RunCommand) -> ShownArchive | None:
        if step.network == "none":
            return None
        return self.archive([self.store.layer_dir(layer) for layer in self.state.layers])

    def _environment(self, step: RunCommand) -> dict[str, str]:
        """What our own build gives the command."""
        layers = [self.store.layer_dir(layer) for layer in self.state.layers]
        home = {"HOME": resolve_user(step.user, layers).home} if step.user else {}
        return ENVIRONMENT | home | dict(step.env)

    def _tidy(self, step: RunCommand, made: Layer) -> tuple[list[list[str]], list[TreeEntry]]:
        """Commands that remove what *step* leaves and its layer has not; and what an archive has to put back after them."""
        below = self._tree()
        result = merged_tree(self.store, (*self.state.layers, made))
        targets = [mount.target for mount in step.mounts] + ([APT_SOURCE] if self._shown_archive(step) else [])
        stubs = {stub for target in targets if (stub := _first_missing(target, result)) is not None}
        commands = [["rm -rf " + " ".join(map(shell_word, sorted(stubs)))]] if stubs else []
        if not step.drop:
            return commands, []
        dropped = matcher(step.drop)
        there = [entry for entry in below if dropped(entry.path)]
        simple = all((entry.type, entry.mode, entry.uid, entry.gid) == ("dir", 0o755, 0, 0) for entry in there)
        leaves = [f"/{entry.path}" for entry in there if not any(one.path.startswith(f"{entry.path}/") for one in there)]
        commands += removal(self._left_out_arg(step.drop), leaves if simple else [])
        return commands, [] if simple else there

    def _set_args(self, wanted: Mapping[str, str]) -> None:
        """ARG for what every command of ours has in its environment and no image: written once a stage."""
        for name, text in ENVIRONMENT.items():
            if name not in self.state.env and name not in self.state.args and wanted[name] == text:
                self.lines.append(f"ARG {name}={value(text)}")
                self.state.args[name] = text

    def _left_out_arg(self, patterns: tuple[str, ...]) -> str:
        """The ARG that holds what commands with these *patterns* must not leave behind."""
        if patterns not in self.state.left_out:
            number = len(self.state.left_out) + 1
            self.state.left_out[patterns] = name = f"LEFT_OUT{f'_{number}' if number > 1 else ''}"
            self.lines.append(f'ARG {name}="{removal_globs(patterns)}"')
        return self.state.left_out[patterns]

    def _owned_directories(self, made: Layer) -> list[TreeEntry] | None:
        """The directories of the layer *made* that are not root's; None when it takes a shell to make them and there is none."""
        below = self._tree()
        owned = [entry for entry in self.store.tree_of(made) if below.get(entry.path) is None and (entry.uid or entry.gid)]
        return owned if not owned or self._has_shell() else None

    def _directory(self, step: MakeDirectory, owned: Sequence[TreeEntry]) -> None:
        """WORKDIR makes directories of root; those of somebody else are made by a command."""
        if owned:
            self._become("0")
            paths = " ".join(shell_word(f"/{entry.path}") for entry in owned)
            owner = f"{owned[0].uid}:{owned[0].gid}"
            self.lines.append(f"RUN mkdir -p {shell_word(step.path)} && chown {owner} {paths}")
        self.lines.append(f"WORKDIR {bare(step.path)}")
        self.state.cwd = step.path

    def _wheels(self, wheels: Sequence[tuple[Step, tuple[Layer, ...]]], *, at_once: int) -> None:
        self._comment(counted(len(wheels), "wheel"))
        names = [self.folder.layer(layer, f"wheels/{layer.label.replace(' ', '-')}") for _, (layer,) in wheels]
        for start in range(0, len(names), at_once):
            self.lines.append(f"ADD {' '.join([*names[start : start + at_once], '/'])}")

    def _archive(self, step: Step, made: tuple[Layer, ...]) -> None:
        """*step* as the archive of its layers, with what they hide removed before."""
        name = f"layers/{_archive_name(step)}"
        hidden = self._hidden_paths(made)
        if hidden and not self._has_shell():
            # Nothing there could remove it: everything up to here is one archive.
            self.lines = [self._from_scratch, *(line for line in self.lines if line.startswith("#"))]
            self.state = StageState(cwd=self.state.cwd, env={"PATH": ENVIRONMENT["PATH"]}, layers=self.state.layers)
            self._env_is_set = False
            made = (*self.state.layers, *made)
        elif hidden:
            self._become("0")
            for start in range(0, len(hidden), _PATHS_AT_ONCE):
                self.lines.append("RUN rm -rf " + " \\\n    ".join(map(shell_word, hidden[start : start + _PATHS_AT_ONCE])))
        if len(made) > 1:
            tree = merged_tree(self.store, made)
            archive = self.folder.entries(tree, list(tree), made, name)
        else:
            archive = self.folder.layer(made[0], name)
        self.lines.append(f"ADD {words([archive, '/'])}")

    def _hidden_paths(self, made: Sequence[Layer]) -> list[str]:
        """What is there below *made* and not any more with it."""
        below, result = self._tree(), merged_tree(self.store, (*self.state.layers, *made))
        gone: list[str] = []
        for entry in below:
            now = result.get(entry.path)
            is_gone = now is None or (now.type == "dir") != (entry.type == "dir")
            if is_gone and not (gone and f"/{entry.path}".startswith(f"{gone[-1]}/")):
                gone.append(f"/{entry.path}")
        return gone

    def _replaces_link(self, step: CopyFiles) -> bool:
        """Whether `--link` puts a directory where the layers below have a link, which COPY would follow."""
        parts, tree = step.target.strip("/").split("/"), self._tree()
        entries = (tree.get("/".join(parts[: count + 1])) for count in range(len(parts)))
        return step.link and any(entry is not None and entry.type == "symlink" for entry in entries)

    def _has_shell(self) -> bool:
        return self._tree().resolve("bin/sh") is not None

    def _become(self, user: str) -> None:
        if user != (self.state.user or "0"):
            self.lines.append(f"USER {bare(user)}")
            self.state.user = user

    def _comment(self, text: str) -> None:
        plain = "".join(char if char.isprintable() else " " for char in text)
        self.lines += ["", f"# {plain}"]

    def _tree(self) -> MergedTree:
        return merged_tree(self.store, self.state.layers)

    def _pulled_config(self, step: Step) -> dict[str, Any] | None:
        """The execution part of the configuration of an image that FROM can name; None: its layers have to come as an archive.

        Not for an image that acts on a build: triggers would run, and changes below volumes would be lost."""
        if not isinstance(step, ImportImage) or not isinstance(parse_reference(step.reference), Remote):
            return None
        document = (self.store.key_fields(step_key(step, None)) or {}).get("config")
        execution = (document or {}).get("config") or {}
        return None if document is None or execution.get("OnBuild") or execution.get("Volumes") else execution


def _first_missing(path: str, tree: MergedTree) -> str | None:
    """The first directory on the way to *path* that *tree* does not have."""
    parts = path.strip("/").split("/")
    for count in range(1, len(parts) + 1):
        if tree.resolve("/".join(parts[:count])) is None:
            return "/" + "/".join(parts[:count])
    return None


def _archive_name(step: Step) -> str:
    match step:
        case UnpackDebs():
            return f"debian-{step.suite}{'-more' if step.onto_base else ''}"
        case ImportImage():
            return step.reference.rpartition("/")[2].partition("@")[0]
        case MakeVenv():
            return f"venv-python-{step.version}"
    return re.sub(r"[^a-z0-9.]+", "-", step_label(step).split("] ")[-1].lower())[:40].strip("-.")
