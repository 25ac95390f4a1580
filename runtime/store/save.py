"""An image as an OCI image layout (image-spec, image-layout.md), the form that skopeo, umoci, podman and containerd read: in a
directory, or as one tar stream, and with that, where asked, the list that `docker load` wants.

Layers are written uncompressed, so the manifest is exactly the one whose digest names the image. Their streams are made from
manifests and directories now, and each is checked against the digest that the image says. Docker itself writes layout and list
into one archive since version 25, sharing the blobs. For an archive nothing is written anywhere on the way: sizes and digests of
the layers are known.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from runtime.errors import BadContent
from runtime.layer import tar_format
from runtime.oci.digest import Digest, canonical_json
from runtime.oci.image_documents import CONTAINERD_NAME, INDEX, MANIFEST, REF_NAME
from runtime.oci.reference import familiar_name, whole_name
from runtime.store.failures import store_errors
from runtime.store.image_blobs import config_bytes, manifest_layer_chunks, manifest_layer_digest
from runtime.store.records import Image
from runtime.store.store import Store
from runtime.whole_file import replace_file


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
        replace_file(directory / "oci-layout", canonical_json({"imageLayoutVersion": "1.0.0"}), mode=0o666)
        index = _with_entry(directory / "index.json", image, {REF_NAME: tag, **(annotations or {})})
        replace_file(directory / "index.json", canonical_json(index), mode=0o666)
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


def _with_entry(path: Path, image: Image, annotations: Mapping[str, str]) -> dict[str, Any]:
    try:
        others = json.loads(path.read_bytes())["manifests"] if path.exists() else []
        kept = [item for item in others if item.get("annotations", {}).get(REF_NAME) != annotations[REF_NAME]]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise BadContent(f"`{path}` is no index of images, so nothing can be added to it") from error
    return index_document([*kept, index_entry(image, annotations)])


def _put(blobs: Path, digest: Digest, chunks: Iterable[bytes]) -> None:
    if not (blobs / digest.hex).exists():
        replace_file(blobs / digest.hex, chunks, mode=0o666)
