"""A staged directory becomes a layer: settle its attributes, learn its diff_id, give it its name by one rename."""

from __future__ import annotations

import errno
import os
from pathlib import Path

from runtime.errors import StoreError
from runtime.layer.archive import digest_tree
from runtime.layer.tree import Tree, scan, write_tree
from runtime.oci.digest import Digest, canonical_json
from runtime.store.blobs import store_error
from runtime.store.layer_files import settle
from runtime.store.power_cuts import mark
from runtime.store.records import Layer
from runtime.store.staging import staging

LAYER_FORMAT = 1


def publish_layer(store: Path, key: Digest, staged: Path, tree: Tree | None, *, label: str) -> Layer:
    """Store directory *staged* as a layer and return it. *staged* is gone afterwards."""
    layers = store / "layers"
    with staging(store / "tmp") as package:
        try:
            root = package / "root"
            os.rename(staged, root)
            digested = digest_tree(tree if tree is not None else scan(root), root)
            settle(root, digested.tree)
            write_tree(digested.tree, package / "tree.jsonl")
            layer = Layer(digested.diff_id, key, digested.size_bytes, label)
            (package / "layer.json").write_bytes(canonical_json(_record(layer)))
            if not (layers / layer.diff_id.hex).exists():
                mark(store, layer.diff_id)
            _name(package, layers / layer.diff_id.hex)
        except OSError as error:
            if error.errno == errno.EXDEV:
                raise StoreError(
                    f"`{staged}` is not on the file system of the store", hint="stage with `Store.staging()`"
                ) from error
            raise store_error(error, f"cannot publish layer `{label}`") from error
    return layer


def _record(layer: Layer) -> dict[str, object]:
    return {"format": LAYER_FORMAT, "diff_id": layer.diff_id, "size": layer.size_bytes, "label": layer.label}


def _name(package: Path, target: Path) -> None:
    try:
        os.rename(package, target)
    except OSError as error:
        # The name exists with the same content, from an earlier build or another builder: ours is thrown away.
        if error.errno not in (errno.EEXIST, errno.ENOTEMPTY):
            raise
