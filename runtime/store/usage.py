"""What a store holds: how much each thing is, when it was last used, and what must stay. One look, as values.

The size of a layer is that of its tar stream, which its record says: nearly what its files take, and nobody has to visit a
hundred thousand of them. Times are mtimes: of a layer's record (a build found or made it), of an image's record and of the
plans that lead to it (a launch found it), of a blob (it was read).
"""

from __future__ import annotations

import json
import os
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path

from runtime.errors import StoreError
from runtime.light_dataclasses import dataclass, replace
from runtime.oci.digest import Digest
from runtime.store.in_use import earliest_build, is_held, pinned_images
from runtime.store.records import Image
from runtime.store.store import Store


@dataclass(frozen=True, slots=True)
class Thing:
    """A layer, a blob or a file of a cache."""

    size_bytes: int
    used_at: float
    """Seconds since the epoch."""


@dataclass(frozen=True, slots=True)
class StoredImage:
    image: Image
    used_at: float
    needed: str | None
    """Why it stays whatever its age: `pinned`, `a run uses it`, `in use`; None when it may go. Names are not looked at here."""


@dataclass(frozen=True, slots=True)
class Usage:
    """All of a store."""

    images: tuple[StoredImage, ...]
    layers: Mapping[Digest, Thing]
    blobs: Mapping[Digest, Thing]
    builds_since: float | None
    """When the earliest build in progress began: what was used since then is in use. None when nothing is being built."""

    @property
    def size_bytes(self) -> int:
        return sum(thing.size_bytes for things in (self.layers, self.blobs) for thing in things.values())


def look(store: Store, *, keep: Collection[str] = ()) -> Usage:
    """What *store* holds now. *keep* are digests of images that runs use."""
    since = earliest_build(store.root)
    pins = pinned_images(store)
    plans = _plan_times(store)
    names = store.names_by_digest()
    images = []
    for image in _images(store):
        used_at = max(_mtime(store.root / "images" / f"{image.digest.hex}.json"), plans.get(image.digest, 0.0))
        needed = None
        if image.digest in keep:
            needed = "a run uses it"
        elif image.digest in pins:
            needed = "pinned"
        elif (since is not None and used_at >= since) or is_held(store.root, image.digest):
            needed = "in use"
        images.append(StoredImage(replace(image, names=names.get(image.digest, ())), used_at, needed))
    return Usage(tuple(images), dict(_layers(store)), dict(_blobs(store)), since)


def blobs_of(image: Image) -> frozenset[Digest]:
    """Blobs that belong to *image*: its configuration as it came, and a layer that is kept as it came."""
    described = (image.manifest.get("config"), *image.manifest.get("layers", ()))
    return frozenset(Digest(each["digest"]) for each in described if isinstance(each, dict) and "digest" in each)


def _images(store: Store) -> Iterator[Image]:
    for digest in store.image_digests():
        try:
            image = store.image_of(digest)
        except StoreError:
            continue  # `check.py` names it; nobody can use it
        if image is not None:
            yield image


def _plan_times(store: Store) -> dict[str, float]:
    """Image → when it was last found by its plan."""
    times: dict[str, float] = {}
    with os.scandir(store.root / "plans") as entries:
        for entry in entries:
            digest = Path(entry.path).read_text().strip()
            times[digest] = max(times.get(digest, 0.0), entry.stat().st_mtime)
    return times


def _layers(store: Store) -> Iterator[tuple[Digest, Thing]]:
    for diff_id in store.layers():
        record = store.root / "layers" / diff_id.hex / "layer.json"
        try:
            size = json.loads(record.read_bytes())["size"]
        except (OSError, ValueError, KeyError, TypeError):
            size = 0  # damaged: nobody finds it, so its age counts from the beginning
        yield diff_id, Thing(size, _mtime(record))


def _blobs(store: Store) -> Iterator[tuple[Digest, Thing]]:
    with os.scandir(store.root / "blobs" / "sha256") as entries:
        for entry in entries:
            if len(entry.name) == 64:
                status = entry.stat()
                yield Digest(f"sha256:{entry.name}"), Thing(status.st_size, status.st_mtime)


def _mtime(path: Path) -> float:
    try:
        return os.stat(path).st_mtime
    except FileNotFoundError:
        return 0.0
