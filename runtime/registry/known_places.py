"""What is remembered of registries: under which blobs a layer is known and in which repositories they lie, and where an image is.

A diff_id says nothing about the blob that a registry holds for the layer: every compressor makes another one. Whoever pulls or
pushes a layer has seen both, and remembers them here, so that the next push asks for that blob (HEAD), mounts it from another
repository of the registry, and doesn't compress the layer again. Docker keeps the same under `distribution/v2metadata-by-diffid`.

A place is a hint: a registry may have dropped the blob since, so it is asked before anything is left out. That a blob *is* the
layer stays true for ever, and therefore survives the layer: who builds it again needs no compressor.

Where an image was pulled from and pushed to is kept beside it, each place with the digest of the manifest that is there: another
one than the image's in the store, because a registry's manifest names compressed layers.
"""

from __future__ import annotations

import json
import time
from typing import Any

from runtime.errors import BadContent
from runtime.light_dataclasses import dataclass, replace
from runtime.oci.digest import Digest, canonical_json, digest_json
from runtime.oci.image_documents import Descriptor
from runtime.oci.reference import Remote
from runtime.store.records import Image
from runtime.store.store import Store

_BLOBS_KEPT = 8
_PLACES_KEPT = 32


@dataclass(frozen=True, slots=True)
class Place:
    """A repository that had the blob when we last looked."""

    registry: str
    repository: str


@dataclass(frozen=True, slots=True)
class KnownBlob:
    """One form of a layer: compressed or not, by whatever tool."""

    descriptor: Descriptor
    """As a manifest of that registry names it: media type, digest and size of the blob."""
    places: tuple[Place, ...]
    """The most recent first."""


def remember_blob(store: Store, diff_id: Digest, descriptor: Descriptor, *, registry: str, repository: str) -> None:
    """Note that *descriptor* is the layer *diff_id* and lies in that repository. Only where both digests were seen."""
    key = _key(diff_id)
    store.ensure()
    with store.lock((key,)):
        known = known_blobs(store, diff_id)
        here = Place(registry, repository)
        before = next((blob for blob in known if blob.descriptor.digest == descriptor.digest), KnownBlob(descriptor, ()))
        places = (here, *(place for place in before.places if place != here))[:_PLACES_KEPT]
        others = [blob for blob in known if blob.descriptor.digest != descriptor.digest]
        blob = KnownBlob(replace(descriptor, platform=None, annotations={}), places)
        if known[:1] != [blob]:
            store.remember(key, {"layer": diff_id, "blobs": [_to_json(each) for each in (blob, *others)[:_BLOBS_KEPT]]})


def forget_place(store: Store, diff_id: Digest, digest: Digest, *, registry: str, repository: str) -> None:
    """Note that the repository has no blob *digest* any more."""
    key = _key(diff_id)
    gone = Place(registry, repository)
    with store.lock((key,)):
        known = known_blobs(store, diff_id)
        kept = [
            KnownBlob(blob.descriptor, tuple(place for place in blob.places if place != gone or blob.descriptor.digest != digest))
            for blob in known
        ]
        if kept != known:
            store.remember(key, {"layer": diff_id, "blobs": [_to_json(blob) for blob in kept]})


def known_blobs(store: Store, diff_id: Digest) -> list[KnownBlob]:
    """The forms in which the layer *diff_id* is known; the most recent first."""
    record = store.recall(_key(diff_id))
    try:
        return [] if record is None else [_from_json(item) for item in record["blobs"]]
    except (KeyError, TypeError, ValueError, BadContent):
        return []  # a record of another version: compress again


def _key(diff_id: Digest) -> Digest:
    return digest_json({"known_blobs": 1, "layer": diff_id})


def _to_json(blob: KnownBlob) -> dict[str, Any]:
    return {**blob.descriptor.to_json(), "places": [[place.registry, place.repository] for place in blob.places]}


def _from_json(item: dict[str, Any]) -> KnownBlob:
    places = tuple(Place(registry, repository) for registry, repository in item["places"])
    return KnownBlob(Descriptor(item["mediaType"], Digest(item["digest"]), int(item["size"])), places)


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
