"""Apply a MakeDirectory step: WORKDIR. Where the layers below have the directory, its layer is empty, as Docker has it too."""

from __future__ import annotations

from collections.abc import Sequence

from runtime.build.cache_key import chain, key_fields, step_key
from runtime.build.copy_placement import Placement
from runtime.build.image_users import resolve_owner
from runtime.build.layers_below import LayersBelow
from runtime.build.placed_layer import placed_layer
from runtime.build.plan import MakeDirectory
from runtime.build.step_label import step_label
from runtime.store.records import Layer
from runtime.store.store import Store


def apply_make_directory(step: MakeDirectory, *, store: Store, below: Sequence[Layer]) -> Layer:
    """The layer of *step* on *below*. Raises BuildError when something else is at that path."""
    parent = chain(below)
    view = LayersBelow([store.layer_dir(layer) for layer in below])
    placement = Placement(view, resolve_owner(step.owner, view) if step.owner else None)
    if view.resolve(step.path)[1] != "dir":
        placement.directory(step.path)
    layer = placed_layer(placement, store=store, label=step_label(step))
    return store.remember_key(step_key(step, parent), layer, fields=key_fields(step, parent))
