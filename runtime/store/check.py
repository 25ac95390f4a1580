"""Is everything what its name says? Blobs, layers and images are read whole and compared with their digests.

Nothing is changed but by `remove`; what to put in its place is for whoever knows where it came from.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Literal

from runtime.errors import StoreError, error_words
from runtime.light_dataclasses import dataclass
from runtime.oci.digest import Digest, canonical_json, digest_bytes, digest_file
from runtime.store.image_blobs import config_bytes
from runtime.store.layer_on_disk import damage_of, remove_layer
from runtime.store.records import Image
from runtime.store.store import Store

_WORKERS = 4


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is not what its name says, or an image that lacks something."""

    kind: Literal["blob", "layer", "image", "incomplete image"]
    """An incomplete image is not damaged itself: a layer of it is not in the store."""
    digest: Digest
    what: str


def check(store: Store, *, looked_at: Callable[[int, int], None] | None = None) -> list[Problem]:
    """Everything that is wrong with *store*. *looked_at* is told how many of how many blobs and layers are done."""
    blobs, layers = _blob_digests(store), store.layers()
    total = len(blobs) + len(layers)
    problems: list[Problem] = []
    with ThreadPoolExecutor(_WORKERS) as pool:  # hashing and reading leave the interpreter lock
        found = (*pool.map(lambda one: _blob(store, one), blobs), *pool.map(lambda one: _layer(store, one), layers))
        for number, problem in enumerate(found, 1):
            problems += [problem] if problem is not None else []
            if looked_at is not None:
                looked_at(number, total)
    return [*problems, *check_images(store)]


def check_images(store: Store) -> list[Problem]:
    """What is wrong with the images' own records, and which images lack a layer. Reads no layer."""
    return [problem for digest in store.image_digests() for problem in _image(store, digest)]


def missing_layers(store: Store, image: Image) -> list[Digest]:
    """Layers of *image* that are not in the store."""
    present = set(store.layers())
    return [layer.diff_id for layer in image.layers if layer.diff_id not in present]


def remove(store: Store, problem: Problem) -> None:
    """Take away what is damaged, so that it is made again instead of being used."""
    if problem.kind == "blob":
        store.blob_path(problem.digest).unlink(missing_ok=True)
    elif problem.kind == "layer":
        remove_layer(store.root, problem.digest)
    elif problem.kind == "image":
        (store.root / "images" / f"{problem.digest.hex}.json").unlink(missing_ok=True)


def _blob_digests(store: Store) -> list[Digest]:
    try:
        names = sorted(os.listdir(store.root / "blobs" / "sha256"))
    except FileNotFoundError:
        return []
    return [Digest(f"sha256:{name}") for name in names if len(name) == 64]


def _blob(store: Store, digest: Digest) -> Problem | None:
    try:
        found = digest_file(store.blob_path(digest))
    except FileNotFoundError:
        return None  # collected meanwhile
    except OSError as error:
        return Problem("blob", digest, f"cannot be read: {error_words(error)}")
    return None if found == digest else Problem("blob", digest, f"its content has digest `{found}`")


def _layer(store: Store, diff_id: Digest) -> Problem | None:
    problem = damage_of(store.root, diff_id) or _record_damage(store, diff_id)
    if problem is None or not store.layer_dir(diff_id).parent.exists():
        return None  # whole, or collected meanwhile
    return Problem("layer", diff_id, problem)


def _record_damage(store: Store, diff_id: Digest) -> str | None:
    try:
        record = json.loads((store.layer_dir(diff_id).parent / "layer.json").read_bytes())
        return None if record["diff_id"] == diff_id else "its record is that of another layer"
    except (OSError, ValueError, KeyError, TypeError):
        return "its record cannot be read"


def _image(store: Store, digest: Digest) -> Iterator[Problem]:
    try:
        image = store.image_of(digest)
    except StoreError as error:
        yield Problem("image", digest, error.message)
        return
    if image is None:
        if (store.root / "images" / f"{digest.hex}.json").exists():
            yield Problem("image", digest, "its record is cut off or no JSON")
        return
    if digest_bytes(canonical_json(image.manifest)) != digest:
        yield Problem("image", digest, "its manifest has another digest")
        return
    if "config" in image.manifest:
        try:
            config_bytes(store, image)
        except StoreError as error:
            yield Problem("image", digest, error.message)
            return
    missing = missing_layers(store, image)
    if missing:
        labels = ", ".join(f"`{layer.label}`" for layer in image.layers if layer.diff_id in missing)
        yield Problem("incomplete image", digest, f"lacks {labels}")
