"""An image as an OCI image layout (image-spec, image-layout.md): the form that skopeo, umoci, podman and containerd read.

Layers are written uncompressed, so the manifest is exactly the one whose digest names the image. The tar streams are made from
manifests and directories now, and each is checked against the digest that the image says.
"""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from runtime.errors import BadContent
from runtime.oci.digest import Digest, canonical_json
from runtime.oci.image_documents import INDEX, MANIFEST, REF_NAME
from runtime.store.failures import store_errors
from runtime.store.image_config import config_bytes
from runtime.store.records import Image
from runtime.store.stacking import manifest_layer_chunks, manifest_layer_digest
from runtime.store.store import Store


def export_oci_layout(
    image: Image, store: Store, directory: Path, *, tag: str = "latest", annotations: Mapping[str, str] | None = None
) -> Digest:
    """Write *image* into the OCI layout *directory* (made if missing; other images in it are kept) as *tag*.

    Returns the manifest digest. Raises StoreError when a layer of the store doesn't have its digest any more.
    """
    blobs = directory / "blobs" / "sha256"
    with store_errors(f"cannot write the image to `{directory}`"):
        blobs.mkdir(parents=True, exist_ok=True)
        for which in range(len(image.groups)):
            _put(blobs, manifest_layer_digest(image, which), manifest_layer_chunks(store, image, which))
        _put(blobs, Digest(image.manifest["config"]["digest"]), (config_bytes(store, image),))
        _put(blobs, image.digest, (canonical_json(image.manifest),))
        _replace(directory / "oci-layout", (canonical_json({"imageLayoutVersion": "1.0.0"}),))
        index = _index(directory / "index.json", image, {REF_NAME: tag, **(annotations or {})})
        _replace(directory / "index.json", (canonical_json(index),))
    return image.digest


def index_entry(image: Image, annotations: Mapping[str, str]) -> dict[str, Any]:
    """How an index lists *image*."""
    entry: dict[str, Any] = {
        "mediaType": MANIFEST,
        "digest": image.digest,
        "size": len(canonical_json(image.manifest)),
        "platform": {"os": "linux", "architecture": image.config["architecture"]},
    }
    return entry | ({"annotations": dict(annotations)} if annotations else {})


def index_document(entries: Iterable[dict[str, Any]]) -> dict[str, Any]:
    return {"schemaVersion": 2, "mediaType": INDEX, "manifests": list(entries)}


def _index(path: Path, image: Image, annotations: Mapping[str, str]) -> dict[str, Any]:
    try:
        others = json.loads(path.read_bytes())["manifests"] if path.exists() else []
        kept = [item for item in others if item.get("annotations", {}).get(REF_NAME) != annotations[REF_NAME]]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise BadContent(f"`{path}` is no index of images, so nothing can be added to it") from error
    return index_document([*kept, index_entry(image, annotations)])


def _put(blobs: Path, digest: Digest, chunks: Iterable[bytes]) -> None:
    if not (blobs / digest.hex).exists():
        _replace(blobs / digest.hex, chunks)


def _replace(path: Path, chunks: Iterable[bytes]) -> None:
    partial = path.with_name(f".{path.name[:16]}.{secrets.token_hex(4)}")
    try:
        with open(partial, "xb") as file:
            file.writelines(chunks)
        os.rename(partial, path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise
