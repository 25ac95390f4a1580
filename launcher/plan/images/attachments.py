"""What is kept beside an image once it is built: its recipe and its bill of materials. A warm launch pays one stat."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager

from launcher.plan.launch_plan import LaunchPlan
from runtime.build.plan import BuildPlan
from runtime.errors import StoreError
from runtime.store.records import Image
from runtime.store.store import Store

RECIPE = "recipe"
"""Name of the attachment: what the image was made from (see `recipe.py`)."""

SBOM = "sbom"
"""Name of the attachment: CycloneDX, JSON."""


def attach_recipe(image: Image, store: Store, *, build: BuildPlan, plan: LaunchPlan | None = None) -> None:
    """Keep its recipe beside *image* unless it is there. *plan* is the experiment's, None for a Dockerfile's image."""
    if store.is_attached(image, RECIPE):
        return
    from launcher.plan.images.recipe import recipe_bytes

    with _where_possible():
        store.attach(image, RECIPE, recipe_bytes(build, plan))


def attach_bill(image: Image, store: Store, *, name: str | None = None) -> None:
    """Keep its bill of materials beside *image* unless it is there; with what the recipe knows, which goes before.

    The bill calls the image *name*, unless the recipe has an experiment's.
    """
    if store.is_attached(image, SBOM):
        return
    from launcher.plan.images.sbom import sbom_from_recipe
    from runtime.oci.digest import canonical_json

    with _where_possible():
        store.attach(image, SBOM, canonical_json(sbom_from_recipe(image, store, name=name or image.digest.short)))


@contextmanager
def _where_possible() -> Iterator[None]:
    """A store that others filled and that we may only read serves as well; then nobody expects us to add to it."""
    try:
        yield
    except StoreError as error:
        cause = error.__cause__
        if not (isinstance(cause, OSError) and cause.errno in (errno.EROFS, errno.EACCES)):
            raise
