"""The blobs that an image's manifest names: its configuration, byte for byte, and the tar streams of its layers.

An image that was made here has its configuration in our one JSON form; one that was imported keeps the bytes that it came with,
beside it: their digest stands in its manifest and is what Docker calls the image's ID.

A manifest holds fewer layers than an overlay takes, so several snapshots may be joined into one of its layers. Joined ones move
above those that keep their own layer, so which file wins would change where two have one path. A joined layer therefore leaves
out what a later snapshot of the image has as well.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from runtime.errors import StoreError
from runtime.layer.archive import merged_tar_chunks
from runtime.layer.tree import Tree, TreeEntry
from runtime.oci.digest import Digest, canonical_json, digest_bytes
from runtime.store.layer_on_disk import layer_stream
from runtime.store.records import Image, Layer
from runtime.store.store import Store

Group = tuple[int, ...]
"""Positions of snapshots, ascending."""


def join_entries(store: Store, layers: Sequence[Layer], groups: Sequence[Group], which: int) -> list[tuple[TreeEntry, Path]]:
    """The entries of the joined layer `groups[which]` of the image, sorted, each with the directory that has its content."""
    group = groups[which]
    trees = {position: store.tree_of(layers[position]) for position in group}
    below = sorted({position for other in groups[:which] for position in other if position > group[0]})
    overruled: dict[str, int] = {}
    for position in below:
        overruled.update((entry.path, position) for entry in store.tree_of(layers[position]) if entry.type != "dir")
    chosen: dict[str, tuple[TreeEntry, Path]] = {}
    for position in group:
        root = store.layer_dir(layers[position])
        for entry in trees[position]:
            if entry.type == "dir" or overruled.get(entry.path, -1) < position:
                chosen[entry.path] = (entry, root)
    return _with_own_links(chosen, trees, store, layers)


def _with_own_links(
    chosen: dict[str, tuple[TreeEntry, Path]], trees: dict[int, Tree], store: Store, layers: Sequence[Layer]
) -> list[tuple[TreeEntry, Path]]:
    """Sorted; a hard link whose file was overruled by another snapshot becomes a file of its own."""
    roots = {store.layer_dir(layers[position]): tree for position, tree in trees.items()}
    result = []
    for path in sorted(chosen):
        entry, root = chosen[path]
        if entry.type == "hardlink" and chosen.get(entry.link, (None, None))[1] != root:
            file = next(each for each in roots[root] if each.path == entry.link)
            entry = TreeEntry(
                path, "file", file.mode, file.uid, file.gid, file.mtime, file.xattrs, size=file.size, sha256=file.sha256
            )
        result.append((entry, root))
    return result


def manifest_layer_chunks(store: Store, image: Image, which: int) -> Iterator[bytes]:
    """The tar stream of the *which*-th layer of the image's manifest. Raises StoreError when it isn't what the manifest says, at
    the latest at the end: who sends it on must not call it complete before."""
    group = image.groups[which]
    if len(group) == 1:
        return layer_chunks(store, image.layers[group[0]])
    joined = merged_tar_chunks(join_entries(store, image.layers, image.groups, which))
    return check_stream(joined, manifest_layer_digest(image, which))


def manifest_layer_digest(image: Image, which: int) -> Digest:
    """The digest that the manifest says for that stream."""
    return Digest(image.manifest["layers"][which]["digest"])


def layer_chunks(store: Store, layer: Layer | Digest) -> Iterator[bytes]:
    """The uncompressed tar stream of *layer*. Raises StoreError when its content has changed, at the latest at the end: who
    sends the stream on must not call it complete before."""
    diff_id = layer.diff_id if isinstance(layer, Layer) else layer
    return check_stream(layer_stream(store.layer_dir(diff_id).parent), diff_id)


def check_stream(stream: Iterable[bytes], digest: Digest) -> Iterator[bytes]:
    """*stream*; raises StoreError behind its last piece when it doesn't have *digest*."""
    hasher = hashlib.sha256()
    for chunk in stream:
        hasher.update(chunk)
        yield chunk
    if hasher.hexdigest() != digest.hex:
        raise StoreError(
            f"layer `{digest.short}` is damaged: its stream has digest `sha256:{hasher.hexdigest()}`",
            hint="`launch store check` finds and removes damaged layers; they are built again when needed",
        )


CONFIG = "config"
"""What the bytes are attached under."""


def config_bytes(store: Store, image: Image) -> bytes:
    """The configuration that the manifest of *image* names. Raises StoreError when it is not there any more."""
    named: dict[str, Any] = image.manifest["config"]
    kept = store.attached(image, CONFIG)
    content = canonical_json(image.config) if kept is None else kept
    if digest_bytes(content) != named["digest"]:
        raise StoreError(
            f"the configuration of image `{image.digest.short}` is damaged: it doesn't have digest `{named['digest']}`",
            hint="`launch images rm` takes the image away; build or pull it again",
        )
    return content
