"""An image of the store by its name: `launch build -t base …` or `launch load base.tar`, then `FROM base` or `image.base: base`.

The recipe's steps of an image that was built here from a Dockerfile become the steps of the stage, so the plan still says all of
what the image is made of: it can be built again in an empty store. One that was pulled is found where it came from. Of any other
the store's layers become one step, which an empty store cannot make again.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from launcher.errors import ConfigError, LaunchError, Origin
from launcher.plan.bases.image_python import with_python
from launcher.plan.bases.imported_base import base_of_image, is_pinned
from launcher.plan.bases.pinned_base import Base
from launcher.plan.bases.pinning import Pinning
from runtime.build.plan import BuildPlan, ImageConfig, ImportImage, env_of
from runtime.errors import BadContent, StoreError
from runtime.oci.digest import digest_json
from runtime.oci.reference import Remote, parse_reference
from runtime.state_dir import StateDir
from runtime.store.records import Image, Layer
from runtime.store.store import Store
from runtime.suggestions import similar

if TYPE_CHECKING:
    from launcher.plan.dockerfile.translate import PinnedImage


def find_stored_image(reference: str, *, state: StateDir, origin: Origin | None) -> PinnedImage | None:
    """The image of the store that has the name *reference*; None when there is none, or when it is a registry's."""
    wanted = _name(reference)
    if wanted is None:
        return None
    store = Store(state.store)
    named = [digest for digest, names in store.names_by_digest().items() if any(_name(name) == wanted for name in names)]
    if not named:
        return None
    from launcher.plan.dockerfile.translate import PinnedImage
    from launcher.plan.images.recipe import read_recipe

    for digest in named:
        image = store.image(str(digest))
        try:
            recipe = read_recipe(image, store)
        except StoreError as error:
            raise ConfigError(f"`{reference}`: {error.message}", origin=origin, hint=error.hint) from error
        if recipe is not None and recipe.plan is None:
            return PinnedImage(recipe.build.steps, image.execution, stages=recipe.build.stages)
    if is_pinned(reference, state=state):
        return None
    image = store.image(str(named[-1]))
    if not image.layers:
        raise ConfigError(f"image `{reference}` of the store has no layers", origin=origin)
    return PinnedImage((step_of_layers(image, image.layers, store),), image.execution)


def pin_stored(
    reference: str, pinning: Pinning, *, apt: Sequence[str], origin: Origin | None = None, asks_python: bool = True
) -> Base | None:
    """The image of the store that has the name *reference* as a base, with *apt* packages on it; None: there is none."""
    found = find_stored_image(reference, state=pinning.state, origin=origin)
    if found is None:
        return None
    from runtime.build.cache_key import stage_digests

    plan = BuildPlan(steps=found.steps, config=ImageConfig(), stages=found.stages)
    digest = digest_json(["stored", stage_digests(BuildPlan((), ImageConfig(), stages=(*found.stages, found.steps)))[-1]])
    base = base_of_image(plan, apt, digest=digest, env={**found.env, **env_of(found.config)})
    return with_python(base, plan, pinning, name=reference) if asks_python else base


def step_of_layers(image: Image, layers: Sequence[Layer], store: Store) -> ImportImage:
    """A step for *layers* of *image*, under a key that leads to them, so that the builder finds it done."""
    from runtime.build.cache_key import key_fields, step_key
    from runtime.build.images.image_source import STORE

    digest = digest_json(["layers", [layer.diff_id for layer in layers]])
    step = ImportImage(reference=f"{STORE}{image.digest}", manifest_digest=digest)
    fields = {**key_fields(step, None), "layers": [layer.key for layer in layers], "config": image.config}
    store.remember_key(step_key(step, None), layers[-1], fields=fields)
    return step


@contextmanager
def adding_similar(reference: str, *, state: StateDir) -> Iterator[None]:
    """For the body, which looks for the image *reference* elsewhere: its failure names one of the store that may be meant."""
    try:
        yield
    except LaunchError as error:
        near = _similar_names(reference, state=state)
        if near:
            hint = f"the store has no image `{reference}` either, but `{near[0]}`"
            error.hint = f"{hint}\n{error.hint}" if error.hint else hint
        raise


def _similar_names(reference: str, *, state: StateDir) -> list[str]:
    """Names of the store's images that somebody who wrote *reference* may have meant, the nearest first."""
    names = sorted({name for names in Store(state.store).names_by_digest().values() for name in names})
    # podman saves what `-t tool` made as `localhost/tool:latest`.
    elsewhere = [name for name in names if _last_part(name) == _last_part(reference)]
    return [*elsewhere, *similar(reference, names, limit=2, cutoff=0.75)]


def _last_part(name: str) -> str:
    return name.rpartition("/")[2].partition(":")[0]


def _name(text: str) -> Remote | None:
    """What *text* names, so that `base` and `base:latest` are one."""
    try:
        parsed = parse_reference(text)
    except BadContent:
        return None
    return parsed if isinstance(parsed, Remote) and parsed.digest is None else None
