"""One layer of a store as files: is it what its name says, and how it is taken away. Knows a directory, not the Store."""

from __future__ import annotations

import os
import secrets
from dataclasses import dataclass
from pathlib import Path

from runtime.errors import StoreError
from runtime.layer.archive import digest_tree
from runtime.layer.tree import read_tree
from runtime.oci.digest import Digest
from runtime.store.directories import MARKS
from runtime.store.staging import remove_tree


@dataclass(frozen=True, slots=True)
class Damage:
    """A layer that is not what its name says."""

    diff_id: Digest
    problem: str


def damage_of(store: Path, diff_id: Digest) -> Damage | None:
    """What is wrong with layer *diff_id*; None when nothing is."""
    directory = store / "layers" / diff_id.hex
    try:
        found = digest_tree(read_tree(directory / "tree.jsonl"), directory / "root").diff_id
    except StoreError as error:
        return Damage(diff_id, error.message)
    return None if found == diff_id else Damage(diff_id, f"its content has digest `{found}`")


def remove_layer(root: Path, diff_id: Digest) -> int:
    """Remove one layer. Returns the bytes of its files."""
    layer = root / "layers" / diff_id.hex
    grave = root / "tmp" / secrets.token_hex(8)
    try:
        os.rename(layer, grave)
    except FileNotFoundError:
        return 0
    size = sum(os.lstat(os.path.join(directory, name)).st_size for directory, _, names in os.walk(grave) for name in names)
    remove_tree(grave)
    (root / MARKS / diff_id.hex).unlink(missing_ok=True)
    return size
