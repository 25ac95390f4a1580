"""Images of a few files in a store, made without a build."""

from __future__ import annotations

from typing import Any

from runtime.layer.tree import scan
from runtime.oci.digest import canonical_json, digest_bytes, digest_json
from runtime.oci.image_documents import CONFIG, LAYER
from runtime.store.records import Image
from runtime.store.store import Store

Files = dict[str, str]


def image_of(store: Store, *layers: Files, config: dict[str, Any] | None = None, **more: Any) -> Image:
    """An image whose layers, bottom first, have these files. *config* is the execution part of its configuration."""
    made = []
    for files in layers:
        with store.staging() as staging:
            root = staging / "root"
            root.mkdir()
            for path, text in files.items():
                (root / path).parent.mkdir(parents=True, exist_ok=True)
                (root / path).write_text(text)
            key = digest_json(files)
            made.append(store.publish(key, root, scan(root), label=f"layer of {len(files)}", fields={}))
    document = {
        "created": "1980-01-02T00:00:00Z",
        "architecture": "amd64",
        "os": "linux",
        "config": config or {},
        "rootfs": {"type": "layers", "diff_ids": [layer.diff_id for layer in made]},
        **more,
    }
    manifest = {
        "schemaVersion": 2,
        "config": {"mediaType": CONFIG, "digest": digest_bytes(canonical_json(document)), "size": len(canonical_json(document))},
        "layers": [{"mediaType": LAYER, "digest": layer.diff_id, "size": layer.size_bytes} for layer in made],
    }
    return store.put_image(config=document, manifest=manifest, layers=made)
