"""What `launch store check` found, put right: what is damaged goes, and is made again from where it came from.

A layer, or an image's record, comes out of the image's recipe (only what is missing is made), a Debian package out of the
archive. What nobody here knows the origin of is named with who does.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence

from launcher.errors import LaunchError
from launcher.plan.code.recorded_code import with_recorded_code
from launcher.plan.images.recipe import Recipe, recipe_of_digest
from runtime.build.builder import build
from runtime.build.plan import BuildPlan, DebPackage, UnpackDebs
from runtime.build.sources import BuildSources
from runtime.errors import RuntimeFailure
from runtime.light_dataclasses import dataclass, field, replace
from runtime.oci.digest import Digest
from runtime.state_dir import StateDir
from runtime.store.check import Problem, check_images, missing_layers, remove
from runtime.store.records import Image
from runtime.store.store import Store

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class RepairResult:
    """How a repair went."""

    made_again: int
    left: tuple[str, ...]
    """What is still to be done, and by what, in words."""


def repair(
    problems: Sequence[Problem], store: Store, *, state: StateDir, environ: Mapping[str, str], in_use: Collection[str], say: Say
) -> RepairResult:
    """Remove what *problems* name and make it again. *in_use* are digests of images that runs use: their files stay, damaged as
    they are, since a program would lose them while it reads."""
    return _Repair(store, state, environ, in_use, say).all(problems)


@dataclass(slots=True)
class _Repair:
    _store: Store
    _state: StateDir
    _environ: Mapping[str, str]
    _in_use: Collection[str]
    _say: Say
    _left: list[str] = field(default_factory=list)
    _made: int = 0

    def all(self, problems: Sequence[Problem]) -> RepairResult:
        used = (self._readable(Digest(digest)) for digest in self._in_use)
        mounted = {layer.diff_id for image in used if image is not None for layer in image.layers}
        for problem in problems:
            if problem.digest in mounted or (problem.kind == "image" and problem.digest in self._in_use):
                self._left.append(f"{problem.kind} `{problem.digest.short}` is in use by a run: repair again when that has ended")
                continue
            remove(self._store, problem)
            if problem.kind == "blob":
                self._blob(problem.digest)
            elif problem.kind == "image":
                self._image(problem.digest)
        for problem in check_images(self._store):
            if problem.kind == "incomplete image" and problem.digest not in self._in_use:
                self._image(problem.digest)
        return RepairResult(self._made, tuple(self._left))

    def _image(self, digest: Digest) -> None:
        """Make what image *digest* lacks, or its record."""
        image = self._readable(digest)
        names = self._store.names_by_digest().get(digest, ())
        name = f"image `{names[0] if names else digest.short}`"
        try:
            recipe = recipe_of_digest(digest, self._store)
            if recipe is None:
                self._left.append(f"{name} has no recipe: {_who_brings_it(names)}")
                return
            made = self._build(recipe, image)
        except (RuntimeFailure, LaunchError) as error:
            message = error.message if isinstance(error, RuntimeFailure) else str(error)
            self._left.append(f"{name} cannot be made again: {message}")
            return
        if made.digest != digest:
            again = f"`launch images rm {digest.short}` gives it up"
            self._left.append(f"{name} comes out as `{made.digest.short}` now (`launch verify` shows why): {again}")
            return
        self._made += 1
        self._say(f"{name} is complete again")

    def _build(self, recipe: Recipe, image: Image | None) -> Image:
        with self._store.staging() as scratch:
            steps = recipe.build
            if image is not None:
                whole = [layer for layer in image.layers if layer.diff_id not in missing_layers(self._store, image)]
                steps, _ = with_recorded_code(steps, replace(image, layers=tuple(whole)), self._store, scratch=scratch)
            sources = self._sources(recipe, steps)
            return build(steps, self._store, sources=sources).image

    def _sources(self, recipe: Recipe, steps: BuildPlan) -> BuildSources:
        from launcher.plan.images.verify import sources_of

        return sources_of(steps, recipe.plan, self._state, self._environ, {})

    def _blob(self, digest: Digest) -> None:
        """Fetch a Debian package again."""
        known = next((each for each in self._locked_packages() if each[0].sha256 == digest.hex), None)
        if known is None:
            self._say(f"blob `{digest.short}` is fetched again when a build needs it")
            return
        package, recipe = known
        from runtime.build.debian.archive_client import archive_client
        from runtime.build.debian.locked_debs import LockedDebs
        from runtime.build.observer import NullObserver

        try:
            source = self._sources(recipe, recipe.build).debian()
            if source is None:
                return
            LockedDebs(self._store, source, client=archive_client(self._environ), observer=NullObserver()).content(package)
        except RuntimeFailure as error:
            # No build needs it while the layer that was made of it is there.
            self._say(f"package `{package.name}` is fetched again when a build needs it; now it cannot be: {error.message}")
            return
        self._made += 1
        self._say(f"package `{package.name}` `{package.version}` is fetched again")

    def _locked_packages(self) -> Iterator[tuple[DebPackage, Recipe]]:
        for digest in self._store.image_digests():
            try:
                recipe = recipe_of_digest(digest, self._store)
            except RuntimeFailure:
                continue  # named with its image, if that has to be made again
            if recipe is None:
                continue
            for step in recipe.build.all_steps:
                if isinstance(step, UnpackDebs):
                    yield from ((package, recipe) for package in step.packages)

    def _readable(self, digest: Digest) -> Image | None:
        try:
            return self._store.image_of(digest)
        except RuntimeFailure:
            return None


def _who_brings_it(names: Sequence[str]) -> str:
    if names:
        return f"`launch pull {names[0]}` or `launch load` brings it again"
    return "`launch pull`, `launch load` or `launch build` bring it again, `launch images rm` gives it up"
