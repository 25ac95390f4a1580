"""Pins: images that somebody said must stay, whatever their age and however full the store is."""

from __future__ import annotations

import os

from runtime.oci.digest import Digest
from runtime.store.blobs import write_atomically
from runtime.store.in_use import naming
from runtime.store.records import PINS, Image
from runtime.store.store import Store


def pin(store: Store, image: Image) -> None:
    """Let *image* stay. Idempotent."""
    store.ensure()
    with naming(store.root):
        write_atomically(store.root / PINS / image.digest.hex, b"", tmp=store.root / "tmp")


def unpin(store: Store, image: Image) -> bool:
    """Take the pin away; False when there was none."""
    try:
        (store.root / PINS / image.digest.hex).unlink()
    except FileNotFoundError:
        return False
    return True


def pinned(store: Store) -> frozenset[Digest]:
    """Digests of all pinned images."""
    try:
        return frozenset(Digest(f"sha256:{name}") for name in os.listdir(store.root / PINS) if len(name) == 64)
    except FileNotFoundError:
        return frozenset()
