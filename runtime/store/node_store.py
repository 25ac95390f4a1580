"""Copies of an image's layers on a node's own disk, from a store that many machines read.

A store as any other (`store.py`), in a directory of the user's own: a layer is copied once, under a lock of its name, and
published by one rename; who uses an image holds its record, and `garbage.py` drops what was used least recently until the
rest fits. It has no names, plans or blobs. Where a copy can't be made the layer is read from where it is.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from runtime.errors import StoreError, error_words
from runtime.layer.file_copy import copy_content, copy_file
from runtime.layer.tree import read_tree
from runtime.light_dataclasses import dataclass
from runtime.oci.digest import Digest
from runtime.store.garbage import Rules, collect
from runtime.store.in_use import HeldImage
from runtime.store.layer_files import settle
from runtime.store.power_cuts import is_whole, suspects
from runtime.store.publish import name_layer
from runtime.store.records import Image, Layer
from runtime.store.scratch import make_place, own_directory
from runtime.store.store import Store
from runtime.store.usage import look

_FULL = (errno.ENOSPC, errno.EDQUOT)


@dataclass(frozen=True, slots=True)
class LayersHere:
    """The directories of an image's layers, bottom first; the copies stay for as long as *held* does."""

    directories: tuple[Path, ...]
    copied: int = 0
    held: HeldImage | None = None
    trouble: str | None = None
    """Why some are read from the shared store."""


def node_store(place: str, environ: Mapping[str, str]) -> Store:
    """This user's store in *place*, which may have `$VARIABLES`. Nothing is made yet but *place* itself."""
    return Store(own_directory(make_place(place, environ), name="launch-store"))


def copy_layers_here(
    image: Image,
    shared: Store,
    node: Store,
    *,
    max_bytes: int | None = None,
    tell: Callable[[str], None] = lambda _: None,
    go_on: Callable[[], None] = lambda: None,
) -> LayersHere:
    """Have the layers of *image* in *node*, as far as there is room: what else is there gives way, the longest unused first.
    *tell* hears of copying, which may take minutes; *go_on* is called between two layers."""
    try:
        node.ensure()
        held = _hold_image(image, node)
        missing = [layer for layer in _distinct(image.layers) if not _has(node, layer.diff_id)]
        trouble = _make_room(node, missing, max_bytes)
        if missing and trouble is None:
            size = sum(layer.size_bytes for layer in missing) / 1e6
            tell(f"copying {len(missing)} of {len(image.layers)} layers ({size:.0f} MB) to `{node.root}`")
            trouble = _copy_all(missing, shared, node, go_on)
    except (StoreError, OSError) as error:
        return LayersHere(tuple(map(shared.layer_dir, image.layers)), trouble=_words(error, node))
    there = {layer.diff_id for layer in image.layers if _record(node, layer.diff_id).exists()}
    directories = tuple((node if layer.diff_id in there else shared).layer_dir(layer) for layer in image.layers)
    return LayersHere(directories, sum(layer.diff_id in there for layer in missing), held, trouble)


def _hold_image(image: Image, node: Store) -> HeldImage:
    """The record of *image* in *node*, held: no layer of it is collected, nor one that is yet to be copied."""
    while True:
        node.put_image(config=image.config, manifest=image.manifest, layers=image.layers, groups=image.groups)
        held = node.hold(image)
        if held is not None:
            return held


def _distinct(layers: Sequence[Layer]) -> list[Layer]:
    return list({layer.diff_id: layer for layer in layers}.values())


def _record(node: Store, diff_id: Digest) -> Path:
    return node.layer_dir(diff_id).with_name("layer.json")


def _has(node: Store, diff_id: Digest) -> bool:
    """Whether the layer is here and whole; then it counts as used now."""
    if diff_id.hex in suspects(os.fspath(node.root)) and not is_whole(node.root, diff_id):
        return False
    try:
        os.utime(_record(node, diff_id))
    except FileNotFoundError:
        return False
    return True


def _make_room(node: Store, missing: Sequence[Layer], max_bytes: int | None) -> str | None:
    """Let what is unused go, so that *missing* fits into *max_bytes*; why it can't."""
    if max_bytes is None or not missing:
        return None
    wanted = sum(layer.size_bytes for layer in missing)
    # What could never fit shall drive nothing out.
    rules = Rules(max_bytes=max(0, max_bytes - wanted))
    left = collect(node, rules, dry_run=True).left_bytes
    if left + wanted <= max_bytes:
        collect(node, rules)
        return None
    limit, used, more = (size / 1e6 for size in (max_bytes, left, wanted))
    return f"`{node.root}` may hold {limit:.0f} MB (`cluster.node_store_size`), {used:.0f} are in use and {more:.0f} more needed"


def _copy_all(missing: Sequence[Layer], shared: Store, node: Store, go_on: Callable[[], None]) -> str | None:
    """Copy what nobody else copies meanwhile; what went wrong, in words. A full disk is made room on, once."""
    may_make_room = True
    waiting = list(missing)
    while waiting:
        go_on()
        try:
            _copy(waiting[0], shared, node)
        except (StoreError, OSError) as error:
            if not (may_make_room and _errno(error) in _FULL):
                return _words(error, node)
            may_make_room = False
            needed = sum(layer.size_bytes for layer in waiting)
            collect(node, Rules(max_bytes=max(0, look(node).size_bytes - needed)))
        else:
            del waiting[0]
    return None


def _copy(layer: Layer, shared: Store, node: Store) -> None:
    with node.lock([layer.diff_id]):
        if _has(node, layer.diff_id):
            return  # another job has copied it while we waited
        source = shared.layer_dir(layer).parent
        with node.staging() as package:
            for name in ("layer.json", "tree.jsonl", "stream"):
                if (source / name).exists():
                    copy_file(source / name, package / name)
            copy_content(source / "root", package / "root")
            settle(package / "root", read_tree(package / "tree.jsonl"))
            name_layer(node.root, package, layer)


def _errno(error: StoreError | OSError) -> int | None:
    cause = error if isinstance(error, OSError) else error.__cause__
    return cause.errno if isinstance(cause, OSError) else None


def _words(error: StoreError | OSError, node: Store) -> str:
    words = error.message if isinstance(error, StoreError) else error_words(error)
    return f"layers cannot be copied to `{node.root}`: {words}"
