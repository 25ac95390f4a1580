"""What a build would do for each step, and what it did: which layers a store has for it, by its key."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice

from runtime.build.cache_key import chain, needs_parent, stage_digests, step_key
from runtime.build.plan import BuildPlan, CopyFiles, ImportImage, Step
from runtime.light_dataclasses import dataclass
from runtime.oci.digest import Digest
from runtime.store.records import Layer
from runtime.store.store import Store


@dataclass(frozen=True, slots=True)
class StepState:
    """What a build would do for one step."""

    step: Step
    key: Digest | None
    """None when it depends on layers that aren't built yet."""
    layers: tuple[Layer, ...]
    """The layers that will be used, bottom first; none when the step has to be done."""
    parent: Digest | None = None
    """What `key` was made with: the chain of the layers below."""
    stages: tuple[Digest, ...] = ()
    """And the plan's `stage_digests`."""

    @property
    def layer(self) -> Layer | None:
        """The topmost layer."""
        return self.layers[-1] if self.layers else None


@dataclass(frozen=True, slots=True)
class BuiltStep:
    """What a build did for one step."""

    step: Step
    layers: tuple[Layer, ...]
    """One; of an imported image all, bottom first."""
    cached: bool
    seconds: float

    @property
    def layer(self) -> Layer:
        """The topmost layer."""
        return self.layers[-1]


def layers_by_step(steps: Sequence[Step], layers: Sequence[Layer]) -> list[tuple[Layer, ...]]:
    """*layers* are those of a whole image: every step has one, except an imported image, of which there is at most one."""
    imported = len(layers) - len(steps) + 1
    left = iter(layers)
    return [tuple(islice(left, imported if isinstance(step, ImportImage) else 1)) for step in steps]


def explain(plan: BuildPlan, store: Store) -> list[StepState]:
    """What `build` would find and what it would do, step by step. Nothing is changed."""
    states: list[StepState] = []
    below: list[Layer] | None = []
    stages = stage_digests(plan)
    for step in plan.steps:
        if needs_parent(step) and below is None:
            states.append(StepState(step, None, (), stages=stages))
            continue
        parent = chain(below or ())
        key = step_key(step, parent, stages)
        found = find_layers(step, key, store)
        if found is None and isinstance(step, CopyFiles):
            from runtime.build.copy.apply_copy_files import find_by_content

            same = find_by_content(step, store=store, below=below or ())
            found = None if same is None else (same,)
        states.append(StepState(step, key, found or (), parent, stages))
        below = below + list(found) if below is not None and found is not None else None
    return states


def find_layers(step: Step, key: Digest, store: Store) -> tuple[Layer, ...] | None:
    """The layers of *step* if the store has them all."""
    layer = store.find(key)
    if layer is None:
        return None
    if not isinstance(step, ImportImage):
        return (layer,)
    keys = (store.key_fields(key) or {}).get("layers", [])
    found = [store.find(Digest(each)) for each in keys]
    layers = tuple(each for each in found if each is not None)
    return layers if layers and len(layers) == len(keys) else None
