"""Is an image what its recipe gives? Make it again from nothing but that, in an empty store, and compare digests.

Everything locked is fetched anew: packages from the archive, wheels from the index, bases from their registry. Where the two
images differ, the difference is shown layer by layer and file by file. Nothing of a recipe can change but the places to fetch
from: `launch verify IMAGE image.mirror=…`.
"""

from __future__ import annotations

import re
import time
from collections.abc import Mapping, Sequence
from itertools import zip_longest
from pathlib import Path
from typing import Any

from launcher.config.spec import Image as AskedImage
from launcher.errors import ConfigError, LaunchError, Origin
from launcher.plan.code.recorded_code import with_recorded_code
from launcher.plan.images.recipe import Recipe, read_recipe
from launcher.plan.launch_plan import LaunchPlan
from runtime.build.builder import build
from runtime.build.observer import BuildObserver
from runtime.build.plan import BuildPlan, RunCommand
from runtime.build.sources import BuildSources, WheelSource
from runtime.errors import RuntimeFailure
from runtime.light_dataclasses import dataclass, replace
from runtime.state_dir import StateDir
from runtime.store.failures import store_errors
from runtime.store.records import Image, Layer
from runtime.store.store import Store
from runtime.store.tree_difference import content_in_words, in_words, layer_difference

_LOOKED_INTO = 200
"""Files of one layer of which the content is compared; more are only counted."""


@dataclass(frozen=True, slots=True)
class FileMismatch:
    path: str
    what: tuple[str, ...]
    """`mode 0644 → 0755`, `content (12 bytes)`"""
    detail: tuple[str, ...]
    """About the content: lines of a text's diff, or what is known of a binary."""


@dataclass(frozen=True, slots=True)
class LayerDifference:
    position: int
    """Bottom is 1."""
    label: str
    recorded: str | None
    """diff_id; None: there is no such layer."""
    rebuilt: str | None
    files: tuple[FileMismatch, ...]
    note: str = ""
    """Why there is nothing to compare."""


@dataclass(frozen=True, slots=True)
class Verification:
    image: Image
    rebuilt: Image
    layers: tuple[LayerDifference, ...]
    configuration: tuple[str, ...]
    """`Env: … → …`"""
    notes: tuple[str, ...]
    """Where something did not come from where it came from first."""
    seconds: float
    kept: Path | None
    """A LAUNCH_HOME with the rebuilt image, where it was asked for."""

    @property
    def identical(self) -> bool:
        return self.image.digest == self.rebuilt.digest


def verify(
    image: Image,
    store: Store,
    *,
    state: StateDir,
    environ: Mapping[str, str],
    asked: AskedImage | None = None,
    secrets: Mapping[str, bytes] | None = None,
    observer: BuildObserver | None = None,
    keep: bool = False,
) -> Verification:
    """Make *image* again and compare. *asked* has the addresses to fetch from, where they differ from the recipe's.

    Raises ConfigError for an image without a recipe, and what a build raises; a file that is not available any more is named
    together with the setting that brings it back.
    """
    recipe = recipe_of(image, store)
    plan = recipe.plan
    if plan is not None and asked is not None:
        plan = replace(plan, spec=replace(plan.spec, image=asked))
    started = time.monotonic()
    held = store.hold(image)
    with store.staging() as scratch:
        home = StateDir(scratch / "home").ensure()
        fresh = Store(home.store).ensure()
        steps, notes = with_recorded_code(recipe.build, image, store, scratch=scratch / "code")
        found = sources_of(steps, plan, home, environ, secrets or {})

        def wheels() -> WheelSource | None:
            source = found.wheels()
            return source and replace(source, cache_dir=home.cache / "uv")

        sources = replace(found, wheels=wheels)
        try:
            rebuilt = build(steps, fresh, sources=sources, observer=observer).image
        except RuntimeFailure as error:
            raise explain_failure(error, image, plan) from error
        seconds = time.monotonic() - started
        differences = () if rebuilt.digest == image.digest else _layer_differences(image, store, rebuilt, fresh)
        configuration = () if rebuilt.digest == image.digest else _configuration(image, rebuilt)
        kept = _keep(home, state, image) if keep else None
    del held  # whoever collects garbage meanwhile leaves the image alone
    notes = (*notes, *_secrets_not_given(steps, sources))
    return Verification(image, rebuilt, tuple(differences), tuple(configuration), notes, seconds, kept)


def recipe_of(image: Image, store: Store) -> Recipe:
    """The recipe of *image*. Raises ConfigError when there is none."""
    recipe = read_recipe(image, store)
    if recipe is None:
        raise ConfigError(
            f"image `{image.digest.short}` has no recipe: it was not built here, or by an older launch",
            hint="`launch build` records one; of a pulled image the registry vouches for its digest",
        )
    return recipe


def sources_of(
    steps: BuildPlan, plan: LaunchPlan | None, home: StateDir, environ: Mapping[str, str], secrets: Mapping[str, bytes]
) -> BuildSources:
    """Where the inputs of a recipe's *steps* come from; *plan* is the recipe's. Other caches and records are those of *home*."""
    if plan is None:
        from launcher.plan.bases.dockerfile_image import build_sources

        return build_sources(steps, state=home, environ=environ, secrets=secrets)
    from launcher.plan.image_plan import sources

    found = sources(replace(plan, build=steps), state=home, environ=environ)

    def wheels() -> WheelSource | None:
        try:
            return found.wheels()
        except ConfigError:
            # A requirements file that is gone: it would only have named indexes, the files themselves are locked.
            image = replace(plan.spec.image, requirements=())
            return sources(replace(plan, spec=replace(plan.spec, image=image)), state=home, environ=environ).wheels()

    return replace(found, wheels=wheels, secrets={**found.secrets, **secrets})


def _secrets_not_given(steps: BuildPlan, sources: BuildSources) -> list[str]:
    runs = [step for step in steps.all_steps if isinstance(step, RunCommand)]
    names = dict.fromkeys(mount.source for step in runs for mount in step.mounts if mount.kind == "secret")
    return [
        f"the recipe takes a secret `{name}`, which was not given: `--secret id={name},…`"
        for name in names
        if name not in sources.secrets
    ]


def _keep(home: StateDir, state: StateDir, image: Image) -> Path:
    place = state.cache / "verify" / image.digest.short
    with store_errors(f"cannot keep the rebuilt image as `{place}`"):
        place.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        if place.exists():
            from runtime.store.staging import remove_tree

            remove_tree(place)
        home.root.rename(place)
    return place


def _layer_differences(image: Image, store: Store, rebuilt: Image, fresh: Store) -> list[LayerDifference]:
    found = []
    for position, (before, after) in enumerate(zip_longest(image.layers, rebuilt.layers), 1):
        if before is None or after is None:
            found += [LayerDifference(position, one.label, one.diff_id, None, ()) for one in (before,) if one is not None]
            found += [LayerDifference(position, one.label, None, one.diff_id, ()) for one in (after,) if one is not None]
        elif before.diff_id != after.diff_id:
            found.append(_layer_difference(position, before, store, after, fresh))
    return found


def _layer_difference(position: int, before: Layer, store: Store, after: Layer, fresh: Store) -> LayerDifference:
    if not (store.layer_dir(before)).is_dir():
        note = "the recorded layer is not in the store any more"
        return LayerDifference(position, before.label, before.diff_id, after.diff_id, (), note)
    roots = store.layer_dir(before), fresh.layer_dir(after)
    files = []
    for number, change in enumerate(layer_difference(store.tree_of(before), fresh.tree_of(after))):
        detail = content_in_words(change, *roots) if number < _LOOKED_INTO else []
        files.append(FileMismatch(change.path, tuple(in_words(change)), tuple(detail)))
    note = "" if files else "the same files; the streams differ"
    return LayerDifference(position, after.label, before.diff_id, after.diff_id, tuple(files), note)


def _configuration(image: Image, rebuilt: Image) -> list[str]:
    """In what the configurations differ, layers aside."""
    before, after = (_flat(one.config) for one in (image, rebuilt))
    keys = sorted(before.keys() | after.keys())
    return [f"{key}: {before.get(key)!r} → {after.get(key)!r}" for key in keys if before.get(key) != after.get(key)]


def _flat(config: Mapping[str, Any]) -> dict[str, Any]:
    own = {key: value for key, value in config.items() if key not in ("config", "rootfs")}
    return {**own, **{f"config.{key}": value for key, value in (config.get("config") or {}).items()}}


def explain_failure(error: RuntimeFailure, image: Image, plan: LaunchPlan | None) -> LaunchError:
    """*error* of the rebuild of *image*: which locked file is not available any more, and which setting brings it back."""
    from runtime.build.debian.apt_sources import MIRROR_VARIABLE
    from runtime.build.debian.archive_client import NotThere

    again = f"launch verify {image.names[0] if image.names else image.digest.short}"
    built = time.strftime("%Y-%m-%d", time.gmtime(image.created_at))
    if isinstance(error.__cause__, NotThere):
        return LaunchError(
            error.message,
            hint=f"a snapshot archive of {built} has it: `{again} image.mirror=ADDRESS`, or {MIRROR_VARIABLE}=ADDRESS",
        )
    files = _wheels_in(error.message, plan)
    if files or "`uv pip " in error.message:
        named = ", ".join(f"`{file}`" for file in files) or "all of the locked wheels"
        return LaunchError(
            f"the index does not give {named}: {error.message}",
            hint=f"name an index or directory that does: `{again} image.index.url=ADDRESS`, or `'image.index.find_links=[DIR]'`",
        )
    return LaunchError(f"the image cannot be made again: {error.message}", hint=error.hint)


def _wheels_in(words: str, plan: LaunchPlan | None) -> list[str]:
    """Locked files whose package uv's *words* name."""
    wheels = plan.lock.wheels if plan is not None and plan.lock is not None else ()
    return [
        wheel.filename
        for wheel in wheels
        if re.search(rf"(?<![\w.-]){re.escape(wheel.name)}(?![\w-])", words) or wheel.filename in words
    ]


_PLACES = ("image.mirror", "image.index.url", "image.index.extra_urls", "image.index.find_links")


def amend_places(recipe: Recipe, texts: Sequence[str], *, cwd: Path) -> AskedImage | None:
    """`image` of the recorded experiment with the addresses of *texts*; None where there is nothing to change."""
    if not texts:
        return None
    if recipe.plan is None:
        raise ConfigError(
            "the image was made from a Dockerfile, which no `image` settings belong to",
            origin=Origin(override=texts[0]),
            hint="LAUNCH_DEBIAN_MIRROR names another Debian archive, registries.conf mirrors of a registry",
        )
    from launcher.config.amend import amend_image

    for text in texts:
        key = text.partition("=")[0].lstrip("+~")
        if key not in _PLACES:
            raise ConfigError(
                f"`{key}` cannot change: the image is made from its recipe",
                origin=Origin(override=text),
                hint=f"{', '.join(_PLACES)} can",
            )
    return amend_image(recipe.plan.spec, texts, cwd=cwd)
