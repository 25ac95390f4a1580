"""What is kept beside an image once it is built: what it was made from (its recipe), and its bill of materials.

`launch verify` makes the image again from the recipe alone. An experiment's image keeps its LaunchPlan, one of a Dockerfile its
BuildPlan. What belongs to the run and not to the image stays out (the program's environment, overrides, the uncommitted diff),
and so do user and password of every address. A warm launch pays one stat.
"""

from __future__ import annotations

import errno
import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from launcher.plan.launch_plan import LaunchPlan
from launcher.plan.plan_json import build_document, build_from, from_document, to_document
from runtime.build.plan import BuildPlan
from runtime.errors import StoreError
from runtime.http.proxies import without_user_info
from runtime.light_dataclasses import dataclass, replace
from runtime.oci.digest import Digest, canonical_json
from runtime.store.records import Image
from runtime.store.store import Store

RECIPE = "recipe"
"""Name of the attachment: what the image was made from."""

SBOM = "sbom"
"""Name of the attachment: CycloneDX, JSON."""

FORMAT = 1

_PART_OF_THE_IMAGE = ("build", "env", "args", "run")
"""Inputs of layers and of the configuration: with one character less it would be another image, and they stand in it anyway."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """The plan of an image."""

    build: BuildPlan
    plan: LaunchPlan | None
    """None for an image of a Dockerfile: there is no experiment."""
    made_by: str
    """The version of launch that recorded it."""


def recipe_bytes(build: BuildPlan, plan: LaunchPlan | None) -> bytes:
    """The recipe as it is kept."""
    from launcher.version import VERSION

    document: dict[str, Any] = {"format": FORMAT, "made_by": VERSION}
    if plan is not None:
        document["launch"] = to_document(_of_the_image(plan))
    else:
        document["build"] = build_document(build)
    # Not canonical_json: parameters may be inf or nan, for which JSON has no words and our reader has.
    text = json.dumps(_without_passwords(document), sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return text.encode(errors="surrogatepass")


def read_recipe(image: Image, store: Store) -> Recipe | None:
    """The recipe of *image*; None when none was kept (an imported image, or one of an older launch)."""
    return recipe_of_digest(image.digest, store)


def readable_recipe(image: Image, store: Store) -> Recipe | None:
    """The recipe of *image*; None also when another version of launch wrote it: the image can be looked at all the same."""
    try:
        return read_recipe(image, store)
    except StoreError:
        return None


def recipe_of_digest(digest: Digest, store: Store) -> Recipe | None:
    """The recipe of the image with that digest, whether its own record can be read or not."""
    try:
        content = store.attachment(digest, RECIPE).read_bytes()
    except FileNotFoundError:
        return None
    try:
        document = json.loads(content)
        if document["format"] != FORMAT:
            raise ValueError(f"format {document['format']}")
        if "launch" in document:
            plan = from_document(document["launch"])
            return Recipe(plan.build, plan, document["made_by"])
        return Recipe(build_from(document["build"]), None, document["made_by"])
    except (KeyError, TypeError, ValueError) as error:
        raise StoreError(
            f"the recipe of image `{digest.short}` cannot be read: {error}",
            hint="another version of launch wrote it; building the image again records it anew",
        ) from error


def _of_the_image(plan: LaunchPlan) -> LaunchPlan:
    git = None if plan.code.git is None else replace(plan.code.git, diff=None)
    spec = replace(plan.spec, env={})
    return replace(plan, spec=spec, code=replace(plan.code, git=git), overrides=(), origins={}, warnings=())


def _without_passwords(value: Any) -> Any:
    """*value* without user and password of addresses, also inside longer text."""
    if isinstance(value, str):
        return without_user_info(value)
    if isinstance(value, list):
        return [_without_passwords(item) for item in value]
    if isinstance(value, dict):
        return {key: item if key in _PART_OF_THE_IMAGE else _without_passwords(item) for key, item in value.items()}
    return value


def attach_recipe(image: Image, store: Store, *, build: BuildPlan, plan: LaunchPlan | None = None) -> None:
    """Keep its recipe beside *image* unless it is there. *plan* is the experiment's, None for a Dockerfile's image."""
    if store.is_attached(image, RECIPE):
        return
    with _where_possible():
        store.attach(image, RECIPE, recipe_bytes(build, plan))


def attach_bill(image: Image, store: Store) -> None:
    """Keep its bill of materials beside *image* unless it is there; with what the recipe knows, which goes before."""
    if store.is_attached(image, SBOM):
        return
    with _where_possible():
        store.attach(image, SBOM, canonical_json(sbom_from_recipe(image, store, name=image.digest.short)))


def sbom_from_recipe(image: Image, store: Store, *, name: str) -> dict[str, Any]:
    """`sbom_document` of an image in the store, with what its recipe knows. Unless that has an experiment's, it calls the image
    *name*."""
    from launcher.plan.images.sbom import sbom_document

    recipe = readable_recipe(image, store)
    if recipe is None:
        return sbom_document(image, store, None, name=name)
    plan = recipe.plan
    lock = None if plan is None else plan.lock
    return sbom_document(image, store, lock, name=name if plan is None else plan.spec.name, build=recipe.build)


@contextmanager
def _where_possible() -> Iterator[None]:
    """A store that others filled and that we may only read serves as well; then nobody expects us to add to it."""
    try:
        yield
    except StoreError as error:
        cause = error.__cause__
        if not (isinstance(cause, OSError) and cause.errno in (errno.EROFS, errno.EACCES)):
            raise
