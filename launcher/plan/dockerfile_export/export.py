"""Write an image as a Dockerfile with its context: other builders make the same file tree of it.

Every path has the type, mode, owner, content and link target that it has in the image. What cannot be the same is said in the
Dockerfile's head. The directory gets its name when it is complete.
"""

from __future__ import annotations

import os
import re
import secrets
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import takewhile
from pathlib import Path

from launcher.errors import ConfigError, LaunchError
from launcher.plan.dockerfile_export.context_folder import ContextFolder
from launcher.plan.dockerfile_export.instruction_text import Unwritable, config_text
from launcher.plan.dockerfile_export.stage_text import ArchiveShown, StageState, StageWriter
from runtime.build.plan import BuildPlan, ImportImage, Step
from runtime.build.step_states import layers_by_step
from runtime.errors import BuildError, error_words
from runtime.light_dataclasses import dataclass, field
from runtime.store.records import Image, Layer
from runtime.store.store import Store

StageLayers = Callable[[int], tuple[Layer, ...]]

_HEAD = """\
# {name}: written by `launch plan --dockerfile` from the image
# {digest}
#
#     docker build -t {name} .      podman build -t {name} .      buildah build -t {name} .
#
# Every path below / gets the type, mode, owner, content and link target that it has in that image. Not the same are
# - times of what instructions make, and so every digest;
# - /etc/hosts, /etc/hostname, /etc/resolv.conf and /run/.containerenv, which some builders leave behind;
# - what commands write that is not the same each time, or that they fetch;
# - the mode of / itself, which is the builder's in an image `FROM scratch`.
# Dates are SOURCE_DATE_EPOCH and locale is C.UTF-8 in commands, as in our own build.
"""


@dataclass(frozen=True, slots=True)
class ExportedDockerfile:
    """What was written."""

    directory: Path
    archives: int
    size_bytes: int
    warnings: tuple[str, ...]


def check_directory(directory: Path) -> None:
    """Refuse a directory that has something in it, before anything is built for it."""
    try:
        if directory.is_symlink() or (directory.exists() and not directory.is_dir()):
            raise ConfigError(f"`{directory}` is not a directory")
        if directory.is_dir() and any(directory.iterdir()):
            raise ConfigError(f"`{directory}` is not empty", hint="name a new directory")
    except OSError as error:
        raise ConfigError(f"cannot look into `{directory}`: {error_words(error)}") from error


def export_dockerfile(
    build: BuildPlan,
    image: Image,
    store: Store,
    *,
    directory: Path,
    name: str,
    command: Sequence[str],
    stage_layers: StageLayers,
    archive: ArchiveShown = lambda layers: None,
) -> ExportedDockerfile:
    """Write *directory* for *image*, which is that of *build*. *command*: what runs when the image says nothing about it.

    *stage_layers* gives the layers of another stage, built if they aren't there; *archive* what apt is shown."""
    check_directory(directory)
    with _published_when_complete(directory) as root:
        folder = ContextFolder(root, store)
        written = _ExportWriter(build, image.layers, store, folder, stage_layers, archive)
        try:
            lines = [*written.stages(), *written.image(command)]
        except Unwritable as error:
            raise BuildError(f"the image's configuration cannot be written as a Dockerfile: {error}") from error
        head = _HEAD.format(name=re.sub(r"[^a-z0-9._/-]+", "-", name.lower()), digest=image.digest)
        notes = "".join(f"# {' '.join(warning.split())}\n" for warning in written.warnings)
        (root / "Dockerfile").write_text(f"{head}{notes}\n" + "\n".join(lines) + "\n", encoding="utf-8")
        (root / "Dockerfile").chmod(0o644)
    return ExportedDockerfile(directory, folder.archives, folder.size_bytes, tuple(written.warnings))


@dataclass(slots=True)
class _ExportWriter:
    """Stages as they are written, and what is known of those that are."""

    build: BuildPlan
    layers: tuple[Layer, ...]
    store: Store
    folder: ContextFolder
    stage_layers: StageLayers
    archive: ArchiveShown
    warnings: list[str] = field(default_factory=list)
    done: dict[tuple[Step, ...], tuple[str, StageState]] = field(default_factory=dict)

    def stages(self) -> list[str]:
        """The other stages, in order."""
        lines = self._shared_base()
        for number, steps in enumerate(self.build.stages):
            writer = self._writer(steps, self.stage_layers(number), f"stage{number}")
            self.done[steps] = (f"stage{number}", writer.state)
            lines += [*writer.lines, ""]
        return lines

    def _shared_base(self) -> list[str]:
        """A stage for the steps that several stages begin with, so that their archives are unpacked once."""
        own = self.build.steps
        shared = max((_common(own, steps) for steps in self.build.stages), key=len, default=())
        if not shared or shared in self.build.stages:
            return []
        layers = [layer for made in layers_by_step(own, self.layers)[: len(shared)] for layer in made]
        writer = self._writer(shared, layers, "base")
        self.done[shared] = ("base", writer.state)
        return [*writer.lines, ""]

    def image(self, command: Sequence[str]) -> list[str]:
        """The stage that is the image."""
        config = self.build.config
        writer = self._writer(self.build.steps, self.layers, None, is_image=True)
        writer.lines.append("")
        writer.set_env()
        onto_image = isinstance(self.build.steps[0], ImportImage)
        user, cwd = writer.state.user, writer.state.cwd
        writer.lines += config_text(config, command=command, user=user, cwd=cwd, onto_image=onto_image, warn=self.warnings)
        return writer.lines

    def _writer(self, steps: Sequence[Step], layers: Sequence[Layer], name: str | None, *, is_image: bool = False) -> StageWriter:
        by_step = layers_by_step(steps, layers)
        writer = StageWriter(
            self.store,
            self.folder,
            lambda number: f"stage{number}",
            self.warnings,
            self.build.config.env if is_image else {},
            self.archive,
        )
        earlier = max((known for known in self.done if tuple(steps[: len(known)]) == known), key=len, default=None)
        if earlier is not None:
            stage, state = self.done[earlier]
            writer.begin_from(stage, state, name=name)
            begun = len(earlier)
        else:
            begun = writer.begin(steps, by_step, name=name)
        writer.write(steps[begun:], by_step[begun:])
        return writer


def _common(steps: tuple[Step, ...], others: tuple[Step, ...]) -> tuple[Step, ...]:
    """What both begin with."""
    return tuple(step for step, _ in takewhile(lambda pair: pair[0] == pair[1], zip(steps, others, strict=False)))


@contextmanager
def _published_when_complete(directory: Path) -> Iterator[Path]:
    """A new directory beside *directory* that takes its place when the body has filled it, and is gone when it failed."""
    staging = directory.parent / f".{directory.name}.{secrets.token_hex(4)}"
    try:
        directory.parent.mkdir(parents=True, exist_ok=True)
        staging.mkdir(mode=0o755)
        yield staging
        os.rename(staging, directory)
    except OSError as error:
        place = error.filename or directory
        raise LaunchError(f"cannot write `{place}`: {error_words(error)}") from error
    finally:
        shutil.rmtree(staging, ignore_errors=True)
