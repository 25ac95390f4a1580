"""Layer and Image: what the store knows about them, as values. Reading and writing is `store.py`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from runtime.oci.digest import Digest


@dataclass(frozen=True, slots=True)
class Layer:
    """One unpacked layer (a snapshot). Overlay takes 500 of them; a manifest holds at most 100 (see `image_assembly`)."""

    diff_id: Digest
    """Digest of the layer's tar stream, uncompressed (config.md, "DiffID")."""
    key: Digest
    """The cache key under which it was found or built."""
    size_bytes: int
    """Size of that tar stream."""
    label: str
    """For people: `numpy 2.3.1`, `dpkg --configure -a`."""


@dataclass(frozen=True, slots=True)
class Image:
    """An image of the store."""

    digest: Digest
    """Digest of the manifest with uncompressed layers: the same on every machine."""
    config: dict[str, Any]
    """The OCI image configuration document."""
    layers: tuple[Layer, ...]
    """What is mounted: snapshots, bottom first."""
    names: tuple[str, ...]
    created_at: int
    """Seconds since the epoch at which this store got it (not the `created` of the configuration)."""
    manifest: dict[str, Any]
    """The OCI manifest document; its layers may be fewer than *layers*."""
    groups: tuple[tuple[int, ...], ...] = ()
    """For each layer of the manifest, the positions in *layers* that it is made of."""
