"""Other places to fetch an image's parts from, for `launch verify IMAGE image.mirror=…`: nothing else of a recipe can change."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from launcher.config.spec import Image
from launcher.errors import ConfigError, Origin
from launcher.plan.images.recipe import Recipe

_PLACES = ("image.mirror", "image.index.url", "image.index.extra_urls", "image.index.find_links")


def asked_image(recipe: Recipe, texts: Sequence[str], *, cwd: Path) -> Image | None:
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
