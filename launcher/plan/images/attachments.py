"""What is kept beside an image once it is built: its recipe and its bill of materials. A warm launch pays one stat."""

from __future__ import annotations

import errno

from launcher.plan.launch_plan import LaunchPlan
from runtime.build.plan import BuildPlan
from runtime.errors import StoreError
from runtime.store.records import Image
from runtime.store.store import Store

RECIPE = "recipe"
"""Name of the attachment: what the image was made from (see `recipe.py`)."""

SBOM = "sbom"
"""Name of the attachment: CycloneDX, JSON."""


def attach(image: Image, store: Store, *, build: BuildPlan, plan: LaunchPlan | None = None, name: str | None = None) -> None:
    """Keep recipe and SBOM beside *image* unless they are there. *plan* is the experiment's, None for a Dockerfile's image.

    *name* is what the SBOM calls the image; the experiment's name where it is None.
    """
    if store.is_attached(image, RECIPE):
        return
    from launcher.plan.images.recipe import recipe_bytes

    try:
        # The recipe is last: where it is, everything is.
        _attach_sbom(image, store, build, plan, name or (image.digest.short if plan is None else plan.spec.name))
        store.attach(image, RECIPE, recipe_bytes(build, plan))
    except StoreError as error:
        # A store that others filled and that we may only read serves as well; then nobody expects us to add to it.
        cause = error.__cause__
        if not (isinstance(cause, OSError) and cause.errno in (errno.EROFS, errno.EACCES)):
            raise


def _attach_sbom(image: Image, store: Store, build: BuildPlan, plan: LaunchPlan | None, name: str) -> None:
    from launcher.plan.images.sbom import sbom_document
    from runtime.oci.digest import canonical_json

    lock = plan.lock if plan is not None else None
    store.attach(image, SBOM, canonical_json(sbom_document(image, store, lock, name=name, build=build)))
