"""Is every layer what its name says? Each is read whole and compared with its digest; what isn't is named, or removed."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from runtime.errors import StoreError
from runtime.layer.archive import digest_tree
from runtime.layer.tree import read_tree
from runtime.oci.digest import Digest
from runtime.store.store import Store


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


def check_layers(store: Store) -> list[Damage]:
    """All damaged layers of *store*. Reads every file of it."""
    found = (damage_of(store.root, diff_id) for diff_id in store.layers())
    return [damage for damage in found if damage is not None]
