"""Make one step of a plan, or of a stage that a step needs: the store's layers if it has them, else those of `apply_*.py`.

Each step is made under the lock of its key, so of all builds that come to it one makes it and the others wait and take it. Stages
are built only when a step that refers to them has to be made, under that step's lock; since a stage's steps are inputs of that
step's key, locks are always taken from the outer to the inner and nobody waits in a circle.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from runtime.build.cache_key import chain, stage_digests, step_key
from runtime.build.observer import BuildObserver
from runtime.build.plan import (
    BuildPlan,
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
from runtime.build.sources import BuildSources
from runtime.build.step_label import step_label
from runtime.build.step_states import BuiltStep, find_layers
from runtime.errors import BuildError
from runtime.oci.digest import Digest
from runtime.store.records import Layer
from runtime.store.store import Store

if TYPE_CHECKING:
    from runtime.build.debian.shown_archive import ShownArchive


class StepMaker:
    """Makes steps of *plan*, and remembers which of its stages it has made."""

    def __init__(self, plan: BuildPlan, store: Store, sources: BuildSources, observer: BuildObserver) -> None:
        self._plan = plan
        self._store = store
        self._sources = sources
        self._observer = observer
        self._digests = stage_digests(plan)
        self._stages: dict[int, tuple[Layer, ...]] = {}
        self._made_again: set[Digest] = set()

    def make(self, step: Step, below: Sequence[Layer], *, among: Sequence[Step]) -> tuple[tuple[Layer, ...], BuiltStep]:
        """The layers of *step* on *below*, and what was done for them. *among*: the steps that it is one of."""
        key = step_key(step, chain(below), self._digests)
        again = self._has_to_be_made_again(step, key)
        found = None if again else find_layers(step, key, self._store)
        if found is None:
            started = time.monotonic()
            words = f"another build makes `{step_label(step)}`: waiting for it"
            with self._store.lock([key], when_taken=lambda: self._observer.message(words)):
                # Whoever held the lock before us has built it.
                found = None if again else find_layers(step, key, self._store)
                if found is None:
                    self._observer.step_started(step)
                    layers = self._apply(step, below, among)
                    seconds = time.monotonic() - started
                    self._observer.step_built(step, layers, seconds)
                    return layers, BuiltStep(step, layers, cached=False, seconds=seconds)
        self._observer.step_cached(step, found)
        return found, BuiltStep(step, found, cached=True, seconds=0.0)

    def _has_to_be_made_again(self, step: Step, key: Digest) -> bool:
        """Whether the store's layers don't count: `run_again`, the first time that this build comes to the step."""
        if not self._sources.run_again or isinstance(step, (UnpackDebs, ImportImage, InstallWheel, MakeVenv)):
            return False
        from runtime.build.debian.debian_base import CONFIGURE

        if step == CONFIGURE:  # part of a base of ours, as its packages are
            return False
        first = key not in self._made_again
        self._made_again.add(key)
        return first

    def stage_layers(self, number: int) -> tuple[Layer, ...]:
        """The layers of a stage, bottom first; what is missing of them is made."""
        if number not in self._stages:
            steps = self._plan.stages[number]
            layers: list[Layer] = []
            for step in steps:
                if isinstance(step, InstallWheel):
                    raise BuildError(f"stage {number} installs wheels, which only the image itself can")
                layers += self.make(step, layers, among=steps)[0]
            self._stages[number] = tuple(layers)
        return self._stages[number]

    def _apply(self, step: Step, below: Sequence[Layer], among: Sequence[Step]) -> tuple[Layer, ...]:
        store, observer = self._store, self._observer
        match step:
            case UnpackDebs():
                from runtime.build.debian.apply_unpack_debs import apply_unpack_debs

                source = self._sources.debian()
                if source is None:
                    raise BuildError("the plan has Debian packages, and no archive is known", hint="`image.mirror` names one")
                return (apply_unpack_debs(step, store=store, source=source, below=below, observer=observer),)
            case RunCommand():
                return (self._run(step, below, among),)
            case MakeVenv():
                from runtime.build.wheels.apply_make_venv import apply_make_venv

                return (apply_make_venv(step, store=store),)
            case CopyIn():
                from runtime.build.copy.apply_copy_files import apply_copy_in

                return (apply_copy_in(step, store=store),)
            case CopyFiles():
                return (self._copy(step, below),)
            case MakeDirectory():
                from runtime.build.copy.apply_copy_files import apply_make_directory

                return (apply_make_directory(step, store=store, below=below),)
            case ImportImage():
                from runtime.build.images.import_image import apply_import_image

                architecture = self._plan.config.architecture
                return apply_import_image(step, store=store, observer=observer, architecture=architecture)
        raise AssertionError(f"no code for step {step!r}")

    def _copy(self, step: CopyFiles, below: Sequence[Layer]) -> Layer:
        from runtime.build.copy.apply_copy_files import apply_copy_files

        return apply_copy_files(
            step,
            store=self._store,
            below=below,
            stage_layers=self.stage_layers,
            observer=self._observer,
            stages=self._digests,
        )

    def _run(self, step: RunCommand, below: Sequence[Layer], among: Sequence[Step]) -> Layer:
        from runtime.build.run.apply_run_command import apply_run_command

        return apply_run_command(
            step,
            store=self._store,
            below=below,
            observer=self._observer,
            archive=self._archive(step, below, among),
            stage_layers=self.stage_layers,
            stages=self._digests,
            sources=self._sources,
        )

    def _archive(self, step: RunCommand, below: Sequence[Layer], among: Sequence[Step]) -> ShownArchive | None:
        """The Debian archive for a command that can reach it, where its image names none."""
        if step.network == "none":
            return None
        from runtime.build.debian.shown_archive import archive_to_show

        source = self._sources.debian()
        return archive_to_show(
            [self._store.layer_dir(layer) for layer in below],
            suite=next((one.suite for one in among if isinstance(one, UnpackDebs)), None),
            archives=None if source is None else source.archives,
            mirror=self._sources.mirror,
        )
