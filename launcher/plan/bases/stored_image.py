"""FROM an image of the store: `launch build -t base …` or `launch load base.tar`, then `FROM base`, as people use `docker build`.

The recipe's steps of an image that was built here from a Dockerfile become the steps of the stage, so the plan still says all of
what the image is made of: it can be built again in an empty store. One that was pulled is found where it came from. Of any other
the store's layers become one step, which an empty store cannot make again.
"""

from __future__ import annotations

from collections.abc import Sequence

from launcher.errors import ConfigError, Origin
from launcher.plan.bases.imported_base import is_pinned
from launcher.plan.dockerfile.translate import PinnedImage
from launcher.plan.images.recipe import read_recipe
from runtime.build.images.image_source import STORE
from runtime.build.plan import ImportImage
from runtime.errors import BadContent, StoreError
from runtime.oci.digest import digest_json
from runtime.oci.reference import Remote, parse_reference
from runtime.state_dir import StateDir
from runtime.store.records import Image, Layer
from runtime.store.store import Store
from runtime.suggestions import similar


def find_stored_image(reference: str, *, state: StateDir, origin: Origin) -> PinnedImage | None:
    """The image of the store that has the name *reference*; None when there is none, or when it is a registry's."""
    wanted = _name(reference)
    if wanted is None:
        return None
    store = Store(state.store)
    named = [digest for digest, names in store.names_by_digest().items() if any(_name(name) == wanted for name in names)]
    for digest in named:
        image = store.image(str(digest))
        try:
            recipe = read_recipe(image, store)
        except StoreError as error:
            raise ConfigError(f"`{reference}`: {error.message}", origin=origin, hint=error.hint) from error
        if recipe is not None and recipe.plan is None:
            return PinnedImage(recipe.build.steps, image.config.get("config") or {}, stages=recipe.build.stages)
    if not named or is_pinned(reference, state=state):
        return None
    image = store.image(str(named[-1]))
    if not image.layers:
        raise ConfigError(f"image `{reference}` of the store has no layers", origin=origin)
    return PinnedImage((step_of_layers(image, image.layers, store),), image.config.get("config") or {})


def step_of_layers(image: Image, layers: Sequence[Layer], store: Store) -> ImportImage:
    """A step for *layers* of *image*, under a key that leads to them, so that the builder finds it done."""
    from runtime.build.cache_key import key_fields, step_key

    digest = digest_json(["layers", [layer.diff_id for layer in layers]])
    step = ImportImage(reference=f"{STORE}{image.digest}", manifest_digest=digest)
    fields = {**key_fields(step, None), "layers": [layer.key for layer in layers], "config": image.config}
    store.remember_key(step_key(step, None), layers[-1], fields=fields)
    return step


def similar_names(reference: str, *, state: StateDir) -> list[str]:
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
