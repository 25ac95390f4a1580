"""FROM an image that was built here: `launch build -t base …`, then `FROM base`, as people use `docker build`.

Its recipe's steps become the steps of the stage, so the plan still says all of what the image is made of: it can be built again
in an empty store. Images that were pulled or loaded have no recipe; FROM finds them where they came from.
"""

from __future__ import annotations

from launcher.errors import ConfigError, Origin
from launcher.plan.dockerfile.translate import PinnedImage
from launcher.plan.recipe import read_recipe
from runtime.errors import BadContent, StoreError
from runtime.oci.reference import Remote, parse_reference
from runtime.state_dir import StateDir
from runtime.store.store import Store


def stored_image(reference: str, *, state: StateDir, origin: Origin) -> PinnedImage | None:
    """The image that was built here under the name *reference*; None when there is none."""
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
    return None


def _name(text: str) -> Remote | None:
    """What *text* names, so that `base` and `base:latest` are one."""
    try:
        parsed = parse_reference(text)
    except BadContent:
        return None
    return parsed if isinstance(parsed, Remote) and parsed.digest is None else None
