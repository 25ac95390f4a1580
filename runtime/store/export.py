"""An image as an OCI image layout (image-spec, image-layout.md): the form that skopeo, umoci, podman and containerd read.

Layers are written uncompressed, so the manifest is exactly the one whose digest names the image. The tar streams are made from
manifests and directories now, and each is checked against the digest that the image says.
"""

from __future__ import annotations

import json
import os
import secrets
from pathlib import Path

from runtime.errors import StoreError
from runtime.oci.digest import Digest, canonical_json
from runtime.oci.image_documents import MANIFEST, REF_NAME
from runtime.store.blobs import put_blob
from runtime.store.image_config import config_bytes
from runtime.store.records import Image
from runtime.store.stacking import manifest_layer_chunks, manifest_layer_digest
from runtime.store.store import Store


def export_oci_layout(image: Image, store: Store, directory: Path, *, tag: str = "latest") -> Digest:
    """Write *image* into the OCI layout *directory* (made if missing; other images in it are kept) as *tag*.

    Returns the manifest digest. Raises StoreError when a layer of the store doesn't have its digest any more.
    """
    blobs = directory / "blobs" / "sha256"
    blobs.mkdir(parents=True, exist_ok=True)
    for which in range(len(image.groups)):
        digest = manifest_layer_digest(image, which)
        if not (blobs / digest.hex).exists():
            found, _ = put_blob(blobs, manifest_layer_chunks(store, image, which), tmp=blobs)
            if found != digest:
                (blobs / found.hex).unlink()
                raise StoreError(
                    f"layer {which} of image `{image.digest.short}` is damaged: its stream has digest `{found}`, not `{digest}`",
                    hint="`launch store check` finds and removes damaged layers; they are built again when needed",
                )
    for document in (config_bytes(store, image), canonical_json(image.manifest)):
        put_blob(blobs, (document,), tmp=blobs)
    _replace(directory / "oci-layout", {"imageLayoutVersion": "1.0.0"})
    _replace(directory / "index.json", _index(directory / "index.json", image, tag))
    return image.digest


def _index(path: Path, image: Image, tag: str) -> dict[str, object]:
    others = json.loads(path.read_bytes()).get("manifests", []) if path.exists() else []
    kept = [item for item in others if item.get("annotations", {}).get(REF_NAME) != tag]
    entry = {
        "mediaType": MANIFEST,
        "digest": image.digest,
        "size": len(canonical_json(image.manifest)),
        "platform": {"os": "linux", "architecture": image.config["architecture"]},
        "annotations": {REF_NAME: tag},
    }
    return {"schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": [*kept, entry]}


def _replace(path: Path, document: dict[str, object]) -> None:
    partial = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    partial.write_bytes(canonical_json(document))
    os.rename(partial, path)
