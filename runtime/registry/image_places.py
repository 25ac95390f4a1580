"""Where an image is in registries: what is kept beside it, each place with the digest of the manifest that is there.

That digest is another one than the image's in the store, because a registry's manifest names compressed layers.
"""

from __future__ import annotations

import json
import time
from typing import Any

from runtime.oci.digest import Digest, canonical_json, digest_json
from runtime.oci.reference import Remote
from runtime.store.records import Image
from runtime.store.store import Store

PULLED, PUSHED = "pulled", "pushed"
_KEPT = 16


def pulls(image: Image, store: Store) -> list[dict[str, Any]]:
    """Where *image* was pulled from, the most recent first: `reference`, `manifest_digest`, `pulled_at`."""
    return _places(image, store, PULLED)


def pushes(image: Image, store: Store) -> list[dict[str, Any]]:
    """Where *image* was pushed, the most recent first: `reference`, `manifest_digest`, `manifest`, `pushed_at`."""
    return _places(image, store, PUSHED)


def record_pull(image: Image, store: Store, source: Remote, digest: Digest) -> None:
    """*image* came from *source*, where its manifest has *digest*."""
    entry = {"reference": place_name(source), "manifest_digest": digest, "pulled_at": int(time.time())}
    _record(image, store, PULLED, entry)


def record_push(image: Image, store: Store, target: Remote, digest: Digest, manifest: dict[str, Any]) -> None:
    """*image* is at *target* now, where its *manifest* has *digest*."""
    entry = {
        "reference": place_name(target),
        "manifest_digest": digest,
        "manifest": manifest,
        "pushed_at": int(time.time()),
    }
    _record(image, store, PUSHED, entry)


def place_name(reference: Remote) -> str:
    """`REGISTRY/NAME:TAG`, without a digest."""
    tag = "" if reference.tag is None else f":{reference.tag}"
    return f"{reference.registry}/{reference.repository}{tag}"


def _places(image: Image, store: Store, what: str) -> list[dict[str, Any]]:
    content = store.attached(image, what)
    try:
        document = json.loads(content) if content is not None else []
    except ValueError:
        return []
    return document if isinstance(document, list) else []


def _record(image: Image, store: Store, what: str, entry: dict[str, Any]) -> None:
    with store.lock((digest_json({what: image.digest}),)):
        known = _places(image, store, what)
        others = [each for each in known if isinstance(each, dict) and each.get("reference") != entry["reference"]]
        store.attach(image, what, canonical_json([entry, *others][:_KEPT]))
