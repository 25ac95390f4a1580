"""Under which compressed digests a layer is known, and in which repositories they lie.

A diff_id says nothing about the blob that a registry holds for the layer: every compressor makes another one. Whoever pulls or
pushes a layer has seen both, and remembers them here, so that the next push asks for that blob (HEAD), mounts it from another
repository of the registry, and doesn't compress the layer again. Docker keeps the same under `distribution/v2metadata-by-diffid`.

A place is a hint: a registry may have dropped the blob since, so it is asked before anything is left out. That a blob *is* the
layer stays true for ever, and therefore survives the layer: who builds it again needs no compressor.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from runtime.errors import BadContent
from runtime.oci.digest import Digest, digest_json
from runtime.oci.image_documents import Descriptor
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
