"""What nothing needs any more: images that weren't used for a while, and layers that no image has.

Used means built, or found by its plan (each warm launch). Named images stay, and those the caller names (of active runs, whose
overlays lie on their layers). Blobs stay unless asked for: an archive may no longer have an old .deb. A layer leaves its name by
one rename and is removed afterwards, so nobody ever finds half of one.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

from runtime.errors import StoreError
from runtime.file_lock import LockBusy, locked
from runtime.oci.digest import Digest
from runtime.store.directories import BUILDING
from runtime.store.layer_on_disk import remove_layer
from runtime.store.records import Image
from runtime.store.store import Store


@dataclass(frozen=True, slots=True)
class Collected:
    """What was removed."""

    images: tuple[Digest, ...]
    layers: tuple[Digest, ...]
    blobs: int
    freed_bytes: int


def collect(
    store: Store, *, unused_s: float, keep: Collection[str] = (), blobs_unused_s: float | None = None, now: float | None = None
) -> Collected:
    """Remove what was not used for *unused_s* seconds. Raises StoreError while something is being built."""
    store.ensure()
    moment = time.time() if now is None else now
    try:
        with locked(store.root / BUILDING, wait=False):
            store.sweep()
            images = store.images()
            going = [image for image in images if _is_unused(store, image, keep, before=moment - unused_s)]
            needed = {layer.diff_id for image in images if image not in going for layer in image.layers}
            for image in going:
                (store.root / "images" / f"{image.digest.hex}.json").unlink(missing_ok=True)
            layers = [one for one in store.layers() if one not in needed and _is_old(store, one, before=moment - unused_s)]
            freed = sum(remove_layer(store.root, diff_id) for diff_id in layers)
            _forget_dangling(store)
            for lock in _files(store.root / "locks"):
                lock.unlink()  # a killed builder's: nobody builds now
            blobs, blob_bytes = (0, 0) if blobs_unused_s is None else _remove_blobs(store, before=moment - blobs_unused_s)
    except LockBusy as busy:
        raise StoreError("something is being built in this store", hint="try again when it is done") from busy
    return Collected(tuple(image.digest for image in going), tuple(layers), blobs, freed + blob_bytes)


def remove_image(store: Store, image: Image) -> None:
    """Forget *image* and its names; `collect` removes layers that only it had."""
    for path in _files(store.root / "names"):
        if path.read_text().strip() == image.digest:
            path.unlink(missing_ok=True)
    (store.root / "images" / f"{image.digest.hex}.json").unlink(missing_ok=True)


def _is_unused(store: Store, image: Image, keep: Collection[str], *, before: float) -> bool:
    if image.names or image.digest in keep:
        return False
    plans = [path for path in _files(store.root / "plans") if path.read_text().strip() == image.digest]
    used = [path.stat().st_mtime for path in (*plans, store.root / "images" / f"{image.digest.hex}.json")]
    return max(used) < before


def _is_old(store: Store, diff_id: Digest, *, before: float) -> bool:
    return (store.root / "layers" / diff_id.hex / "layer.json").stat().st_mtime < before


def _forget_dangling(store: Store) -> None:
    """Remove plans, attachments and names of images, and keys of layers, that are gone."""
    images = {f"sha256:{path.stem}" for path in _files(store.root / "images")}
    for directory in ("plans", "names"):
        for path in _files(store.root / directory):
            if path.read_text().strip() not in images:
                path.unlink(missing_ok=True)
    for path in _files(store.root / "attachments"):
        if f"sha256:{path.name.partition('.')[0]}" not in images:
            path.unlink(missing_ok=True)
    layers = set(store.layers())
    for path in _files(store.root / "keys"):
        record = store.recall(Digest(f"sha256:{path.name}"))
        if record is None or ("diff_id" in record and record["diff_id"] not in layers):
            path.unlink(missing_ok=True)


def _remove_blobs(store: Store, *, before: float) -> tuple[int, int]:
    removed = size = 0
    for path in _files(store.root / "blobs" / "sha256"):
        status = path.stat()
        if status.st_mtime < before:
            path.unlink()
            removed, size = removed + 1, size + status.st_size
    return removed, size


def _files(directory: Path) -> Iterator[Path]:
    return iter(sorted(directory.iterdir()))
