"""One layer of a store as files: is it what its name says, and how it is taken away. Knows a directory, not the Store."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from runtime.errors import StoreError
from runtime.layer.archive import digest_tree, tar_chunks
from runtime.layer.stream_record import replay
from runtime.layer.tree import Tree, read_tree
from runtime.oci.digest import Digest, digest_chunks, digest_file
from runtime.store.layer_files import first_difference
from runtime.store.records import MARKS
from runtime.store.staging import burial

STREAM = "stream"
"""Beside `root` and `tree.jsonl` of an imported layer: the record of the stream that it came as."""


def damage_of(store: Path, diff_id: Digest) -> str | None:
    """What is wrong with layer *diff_id*; None when nothing is. Reads every file of it."""
    directory = store / "layers" / diff_id.hex
    try:
        tree = read_tree(directory / "tree.jsonl")
        return _content_damage(directory, tree, diff_id) or first_difference(tree, directory / "root")
    except StoreError as error:
        return error.message


def _content_damage(directory: Path, tree: Tree, diff_id: Digest) -> str | None:
    if not (directory / STREAM).exists():
        found = digest_tree(tree, directory / "root").diff_id
        return None if found == diff_id else f"its content has digest `{found}`"
    found, _ = digest_chunks(replay(directory / STREAM, directory / "root"))
    if found != diff_id:
        return f"its content has digest `{found}`"
    # The manifest is no part of that stream: its own digest was written down.
    return None if _tree_digest(directory) == digest_file(directory / "tree.jsonl") else "its manifest has changed"


def _tree_digest(directory: Path) -> str | None:
    try:
        record = json.loads((directory / "layer.json").read_bytes())
    except (OSError, ValueError):
        return None
    return record.get("tree") if isinstance(record, dict) else None


def layer_stream(directory: Path) -> Iterator[bytes]:
    """The uncompressed tar stream of the layer in *directory*: as it came, or in the one form that its manifest has. Raises
    StoreError when a file is not as it was."""
    if (directory / STREAM).exists():
        return replay(directory / STREAM, directory / "root")
    return tar_chunks(read_tree(directory / "tree.jsonl"), directory / "root")


def remove_layer(root: Path, diff_id: Digest) -> int:
    """Remove one layer. Returns the bytes of its files."""
    layer = root / "layers" / diff_id.hex
    size = sum(os.lstat(os.path.join(directory, name)).st_size for directory, _, names in os.walk(layer) for name in names)
    with burial(root / "tmp") as bury, suppress(FileNotFoundError):
        bury(layer)
    (root / MARKS / diff_id.hex).unlink(missing_ok=True)
    return size
