"""The configuration of an image, byte for byte.

An image that was made here has its configuration in our one JSON form. One that was imported keeps the bytes that it came with:
their digest stands in its manifest and is what Docker calls the image's ID. They lie beside the image.
"""

from __future__ import annotations

from typing import Any

from runtime.errors import StoreError
from runtime.oci.digest import canonical_json, digest_bytes
from runtime.store.records import Image
from runtime.store.store import Store

CONFIG = "config"
"""What the bytes are attached under."""


def config_bytes(store: Store, image: Image) -> bytes:
    """The configuration that the manifest of *image* names. Raises StoreError when it is not there any more."""
    named: dict[str, Any] = image.manifest["config"]
    kept = store.attached(image, CONFIG)
    content = canonical_json(image.config) if kept is None else kept
    if digest_bytes(content) != named["digest"]:
        raise StoreError(
            f"the configuration of image `{image.digest.short}` is damaged: it doesn't have digest `{named['digest']}`",
            hint="`launch images rm` takes the image away; build or pull it again",
        )
    return content
