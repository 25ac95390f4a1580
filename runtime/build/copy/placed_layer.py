"""A placement becomes a layer: found by what it would be, or written.

Its key is made of the manifest, so whoever ends at the same files, by whatever way, has the same layer.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from runtime.build.cache_key import COPY_FILES_VERSION
from runtime.build.copy.copy_placement import Placement
from runtime.build.copy.copy_sources import Content, InContext, InStore, InText, changed
from runtime.errors import BadContent, StoreError
from runtime.layer.file_copy import copy_hashed
from runtime.layer.tree import Tree, TreeEntry
from runtime.oci.digest import Digest, digest_json
from runtime.store.failures import of_the_disk
from runtime.store.records import Layer
from runtime.store.store import Store


def placed_layer(placement: Placement, *, store: Store, label: str) -> Layer:
    """The layer of *placement*, under the key of its content."""
    tree = placement.tree()
    key = content_key(tree)
    with store.lock([key]):
        layer = store.find(key)
        if layer is not None:
            return layer
        with store.staging() as staging:
            root = staging / "root"
            root.mkdir()
            return store.publish(key, root, write_content(tree, placement.contents, root), label=label)


def content_key(tree: Tree) -> Digest:
    """The key of a layer that is exactly *tree*; sizes follow from contents."""
    return digest_json({"kind": "copied-files", "version": COPY_FILES_VERSION, "entries": [_listed(entry) for entry in tree]})


def _listed(entry: TreeEntry) -> list[Any]:
    xattrs = [[name, value.hex()] for name, value in entry.xattrs]
    attributes = [entry.mode, entry.uid, entry.gid, entry.mtime, xattrs]
    return [entry.path, entry.type, *attributes, list(entry.device or ()), entry.link, entry.sha256]


def write_content(tree: Tree, contents: Mapping[str, Content], root: Path) -> Tree:
    """Make the paths of *tree* below the empty directory *root*; the tree with the sizes of its files. Attributes are the store's
    business, and device nodes are in the manifest only."""
    entries = []
    for entry in tree:
        location = root / entry.path
        match entry.type:
            case "dir":
                location.mkdir()
            case "file":
                entry = replace(entry, size=copy_content(contents[entry.path], location, entry))
            case "symlink":
                os.symlink(entry.link, location)
            case "hardlink":
                os.link(root / entry.link, location, follow_symlinks=False)
            case "fifo":
                os.mkfifo(location)
        entries.append(entry)
    return Tree(tuple(entries))


def copy_content(content: Content, target: Path, entry: TreeEntry) -> int:
    """Copy to the new file *target*; the size. Raises an error when it is not the content that *entry* says."""
    match content:
        case InText(content=text):
            target.write_bytes(text)
            return len(text)
        case InContext(root=root, path=path):
            try:
                size, digests = copy_hashed(Path(root, path), target, mode=0o600)
            except (OSError, BadContent) as error:
                if isinstance(error, OSError) and of_the_disk(error):
                    raise
                reason = error.strerror if isinstance(error, OSError) else error.message
                raise changed(root, path, reason or "it cannot be read") from error
            if entry.sha256 != digests["sha256"].hex():
                raise changed(root, path, "its content is another one now")
            return size
        case InStore(location=location):
            try:
                size, digests = copy_hashed(location, target, mode=0o600)
            except OSError as error:
                if of_the_disk(error):
                    raise
                raise StoreError(f"cannot copy `{location}`: {error.strerror}") from error
            if entry.sha256 and entry.sha256 != digests["sha256"].hex():
                raise StoreError(f"`{location}` doesn't have the content that its layer says", hint="`launch store check`")
            return size
