"""An image as one tar stream: an OCI image layout, and with it, where asked, the list that `docker load` wants.

Docker itself writes both into one archive since version 25, sharing the blobs. Nothing is written anywhere on the way: sizes and
digests of the layers are known, so their streams go straight into the archive and are checked as they go.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from runtime.layer import tar_format
from runtime.oci.digest import Digest, canonical_json
from runtime.oci.image_documents import CONTAINERD_NAME, REF_NAME
from runtime.oci.reference import familiar_name, whole_name
from runtime.store.export import index_document, index_entry
from runtime.store.image_config import config_bytes
from runtime.store.records import Image
from runtime.store.stacking import manifest_layer_chunks, manifest_layer_digest
from runtime.store.store import Store


def oci_archive(image: Image, store: Store, *, names: Sequence[str]) -> Iterator[bytes]:
    """The archive, in pieces. Raises StoreError when a layer is damaged: what was given by then is no image."""
    yield from _archive(image, store, {"index.json": _index(image, names)})


def docker_archive(image: Image, store: Store, *, names: Sequence[str]) -> Iterator[bytes]:
    """The same with Docker's `manifest.json`."""
    listed = {
        "Config": _blob(Digest(image.manifest["config"]["digest"])),
        "RepoTags": [tag for name in names if (tag := familiar_name(name)) is not None] or None,
        "Layers": [_blob(manifest_layer_digest(image, which)) for which in range(len(image.groups))],
    }
    yield from _archive(image, store, {"index.json": _index(image, names), "manifest.json": [listed]})


def annotations_of(name: str) -> dict[str, str]:
    """How an index calls an image: podman reads the first, containerd the second and wants the whole name."""
    whole = whole_name(name)
    return {REF_NAME: familiar_name(name) or name} | ({CONTAINERD_NAME: whole} if whole else {})


def _archive(image: Image, store: Store, documents: dict[str, Any]) -> Iterator[bytes]:
    yield _header("blobs/", directory=True)
    yield _header("blobs/sha256/", directory=True)
    written: set[Digest] = set()
    for which in range(len(image.groups)):
        digest = manifest_layer_digest(image, which)
        if digest not in written:
            written.add(digest)
            size = image.manifest["layers"][which]["size"]
            yield _header(_blob(digest), size)
            yield from manifest_layer_chunks(store, image, which)
            yield tar_format.padding(size)
    config = Digest(image.manifest["config"]["digest"])
    small = {_blob(config): config_bytes(store, image), _blob(image.digest): canonical_json(image.manifest)}
    small["oci-layout"] = canonical_json({"imageLayoutVersion": "1.0.0"})
    small |= {name: canonical_json(document) for name, document in documents.items()}
    for name, content in small.items():
        yield _header(name, len(content)) + content + tar_format.padding(len(content))
    yield tar_format.END


def _header(name: str, size: int = 0, *, directory: bool = False) -> bytes:
    kind, mode = (tar_format.DIRECTORY, 0o755) if directory else (tar_format.FILE, 0o644)
    return tar_format.encode(tar_format.Header(name.encode(), kind, mode, size=size))


def _index(image: Image, names: Sequence[str]) -> dict[str, Any]:
    return index_document([index_entry(image, annotations_of(name)) for name in names] or [index_entry(image, {})])


def _blob(digest: Digest) -> str:
    return f"blobs/sha256/{digest.hex}"
