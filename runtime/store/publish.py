"""A staged directory becomes a layer: settle its attributes, learn its diff_id, give it its name by one rename.

What was made here has the diff_id of its one tar form; what was unpacked from a stream keeps the stream's, and has the record of
that stream beside it.
"""

from __future__ import annotations

import errno
import os
from pathlib import Path

from runtime.layer.archive import TreeDigest, digest_tree
from runtime.layer.file_copy import copy_content
from runtime.layer.tree import Tree, scan, write_tree
from runtime.oci.digest import Digest, canonical_json, digest_file
from runtime.store.failures import store_error, store_errors
from runtime.store.in_use import naming
from runtime.store.layer_files import settle
from runtime.store.power_cuts import mark
from runtime.store.records import Layer
from runtime.store.staging import remove_tree, staging

LAYER_FORMAT = 1


def publish_layer(store: Path, key: Digest, staged: Path, tree: Tree | TreeDigest | None, *, label: str) -> Layer:
    """Store directory *staged*, on whichever file system, as a layer and return it. *staged* is gone afterwards. With a
    TreeDigest its regular files were digested and settled when they were written."""
    with staging(store / "tmp") as package:
        try:
            root = package / "root"
            digested = tree if isinstance(tree, TreeDigest) else digest_tree(scan(staged) if tree is None else tree, staged)
            moved = _take(staged, root)
            settle(root, digested.tree, files_are_settled=moved and digested is tree)
            write_tree(digested.tree, package / "tree.jsonl")
            layer = Layer(digested.diff_id, key, digested.size_bytes, label)
            (package / "layer.json").write_bytes(canonical_json(_record(layer)))
            name_layer(store, package, layer)
        except OSError as error:
            raise store_error(error, f"cannot publish layer `{label}`") from error
    return layer


def _take(staged: Path, root: Path) -> bool:
    """Let *staged* be *root*; False when its files had to be copied."""
    try:
        os.rename(staged, root)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        # A container ran on this machine's scratch (`Store.container_staging`).
        copy_content(staged, root)
        remove_tree(staged)
        return False
    return True


def publish_unpacked(store: Path, key: Digest, package: Path, extracted: TreeDigest, *, label: str) -> Layer:
    """Store *package*, a directory of `staging` with `root` and `stream` as `extract_recorded` left them, as a layer."""
    layer = Layer(extracted.diff_id, key, extracted.size_bytes, label)
    with store_errors(f"cannot publish layer `{label}`"):
        settle(package / "root", extracted.tree, files_are_settled=True)
        write_tree(extracted.tree, package / "tree.jsonl")
        # The digest of the stream doesn't cover the manifest, as that of a layer's one form does.
        record = _record(layer) | {"tree": digest_file(package / "tree.jsonl")}
        (package / "layer.json").write_bytes(canonical_json(record))
        name_layer(store, package, layer)
    return layer


def _record(layer: Layer) -> dict[str, object]:
    return {"format": LAYER_FORMAT, "diff_id": layer.diff_id, "size": layer.size_bytes, "label": layer.label}


def name_layer(store: Path, package: Path, layer: Layer) -> None:
    """Let *package*, a complete directory of `staging`, be *layer* of the store."""
    target = store / "layers" / layer.diff_id.hex
    with naming(store):
        if not target.exists():
            mark(store, layer.diff_id)
        try:
            os.rename(package, target)
        except OSError as error:
            # The name exists with the same content, from an earlier build or another builder: ours is thrown away.
            if error.errno not in (errno.EEXIST, errno.ENOTEMPTY):
                raise
            os.utime(target / "layer.json")  # it is in use again: see `in_use.py`
