"""Small images in the forms that other tools write, for tests."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import tarfile
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

Files = dict[str, bytes]


def tar_of(files: Files, *, mtime: int = 1_700_000_000) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size, member.mode, member.mtime = len(content), 0o755, mtime
            archive.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


def digest(content: bytes) -> str:
    return "sha256:" + hashlib.sha256(content).hexdigest()


def config_of(layers: Sequence[bytes]) -> bytes:
    document = {
        "architecture": "amd64",
        "os": "linux",
        "config": {"Env": ["PATH=/usr/bin", "EMPTY="]},
        "rootfs": {"type": "layers", "diff_ids": [digest(layer) for layer in layers]},
    }
    return json.dumps(document).encode()


packed = partial(gzip.compress, mtime=0)  # the same bytes at any time


def write_layout(
    directory: Path,
    layers: Sequence[bytes],
    *,
    pack: Callable[[bytes], bytes] = packed,
    change: Callable[[dict[str, Any]], None] = lambda manifest: None,
    tag: str = "v1",
) -> str:
    """An OCI image layout; the digest of its manifest."""
    blobs = directory / "blobs" / "sha256"
    blobs.mkdir(parents=True, exist_ok=True)

    def put(content: bytes, media_type: str) -> dict[str, Any]:
        (blobs / digest(content)[7:]).write_bytes(content)
        return {"mediaType": media_type, "digest": digest(content), "size": len(content)}

    kind = "application/vnd.oci.image.layer.v1.tar+gzip"
    manifest: dict[str, Any] = {
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": put(config_of(layers), "application/vnd.oci.image.config.v1+json"),
        "layers": [put(pack(layer), kind) for layer in layers],
    }
    change(manifest)
    entry = put(json.dumps(manifest).encode(), "application/vnd.oci.image.manifest.v1+json")
    entry["annotations"] = {"org.opencontainers.image.ref.name": tag}
    (directory / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')
    (directory / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [entry]}))
    return str(entry["digest"])


def write_saved(path: Path, layers: Sequence[bytes], *, tag: str = "lab/x:1", shared: bool = False) -> str:
    """What `docker save` writes; the digest of its configuration. *shared*: the second layer is a link to the first."""
    config = config_of(layers)
    names = [f"{number}/layer.tar" for number in range(len(layers))]
    with tarfile.open(path, "w") as archive:

        def add(name: str, content: bytes) -> None:
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))

        for number, (name, layer) in enumerate(zip(names, layers, strict=True)):
            if shared and number == 1:
                link = tarfile.TarInfo(name)
                link.type, link.linkname = tarfile.SYMTYPE, "../0/layer.tar"
                archive.addfile(link)
            else:
                add(name, layer)
        add("config.json", config)
        add("manifest.json", json.dumps([{"Config": "config.json", "RepoTags": [tag], "Layers": names}]).encode())
    return digest(config)
