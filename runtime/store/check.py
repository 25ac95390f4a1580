"""Is every layer what its name says? Each is read whole and compared with its digest; what isn't is named, or removed."""

from __future__ import annotations

from runtime.store.layer_on_disk import Damage, damage_of
from runtime.store.store import Store


def check_layers(store: Store) -> list[Damage]:
    """All damaged layers of *store*. Reads every file of it."""
    found = (damage_of(store.root, diff_id) for diff_id in store.layers())
    return [damage for damage in found if damage is not None]
