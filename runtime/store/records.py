"""Layer and Image: what the store knows about them, as values, and their form as JSON. Reading and writing is `store.py`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from runtime.errors import StoreError
from runtime.light_dataclasses import dataclass
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

    @property
    def size_bytes(self) -> int:
        """Of all its layers, other images' among them."""
        return sum(layer.size_bytes for layer in self.layers)

    @property
    def execution(self) -> dict[str, Any]:
        """What a container of it is told: Env, User, WorkingDir, Entrypoint, Cmd, … (config.md, "config")."""
        return self.config.get("config") or {}


def layer_from(record: dict[str, Any], key: Digest) -> Layer | None:
    """The layer that *record*, kept under *key*, tells of; None when it tells of none."""
    try:
        return Layer(Digest(record["diff_id"]), key, record["size"], record["label"])
    except (KeyError, TypeError):
        return None


def layer_rows(layers: Iterable[Layer]) -> list[list[Any]]:
    """*layers* as JSON data."""
    return [[layer.diff_id, layer.key, layer.size_bytes, layer.label] for layer in layers]


def layers_from_rows(rows: Iterable[list[Any]]) -> tuple[Layer, ...]:
    """The layers of which `layer_rows` made *rows*."""
    return tuple(Layer(Digest(diff_id), Digest(key), size, label) for diff_id, key, size, label in rows)


def image_record(image: Image) -> dict[str, Any]:
    """*image* as it is kept, without its names."""
    return {
        "config": image.config,
        "manifest": image.manifest,
        "created_at": image.created_at,
        "groups": image.groups,
        "layers": layer_rows(image.layers),
    }


def image_from(record: dict[str, Any], digest: Digest) -> Image:
    """The image of *record*. Raises StoreError when that is damaged."""
    try:
        groups = tuple(tuple(group) for group in record["groups"])
        layers = layers_from_rows(record["layers"])
        return Image(digest, record["config"], layers, (), record["created_at"], record["manifest"], groups)
    except (KeyError, TypeError, ValueError) as error:
        raise StoreError(
            f"the record of image `{digest.short}` is damaged: {error!r}",
            hint="`launch store check --repair` removes it; the image is built again when needed",
        ) from error


def name_file(name: str) -> str:
    """A name as one path component: `/` and `%` are escaped, and no name can be `.` or hidden."""
    if not name or len(name) > 200 or "\0" in name:
        raise StoreError(f"`{name[:80]}` cannot be the name of an image")
    escaped = name.replace("%", "%25").replace("/", "%2F")
    return "%2E" + escaped[1:] if escaped.startswith(".") else escaped


def name_of_file(file_name: str) -> str:
    """The name that `name_file` wrote."""
    return file_name.replace("%2E", ".", 1).replace("%2F", "/").replace("%25", "%")


MARKS = "unsynced"
"""One file a layer that may not have reached the disk; it names the boot that wrote the layer."""

GATE = ".gate"
"""A lock: held shared for the moment in which something gets its name or is taken into use, and exclusively while garbage loses
its names. Neither lasts longer than a look through the store."""

PINS = "pins"
"""One empty file an image that somebody said must stay."""
