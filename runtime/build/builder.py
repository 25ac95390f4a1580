"""A BuildPlan becomes an Image: what is there is taken, the rest is made.

`build` first asks the store for the finished image of the whole plan, which costs a read or two; only when that fails does it
go through the steps (`step_runner.py`). `explain` tells beforehand what would be done. Kinds of steps are `apply_*.py`.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

from runtime.build.cache_key import chain, needs_parent, plan_key, stage_digests, step_key
from runtime.build.observer import BuildObserver, NullObserver
from runtime.build.plan import BuildPlan, CopyFiles, ImportImage, Step
from runtime.build.sources import BuildSources
from runtime.oci.digest import Digest
from runtime.store.in_use import HeldImage
from runtime.store.records import Image, Layer
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


@dataclass(frozen=True, slots=True)
class BuildResult:
    image: Image
    steps: tuple[BuiltStep, ...]
    seconds: float
    held: HeldImage
    """Keeps the image from being collected as garbage until whoever asked for it lets go of this result."""

    @property
    def cached(self) -> bool:
        """Whether nothing had to be made."""
        return all(step.cached for step in self.steps)


def build(
    plan: BuildPlan, store: Store, *, sources: BuildSources | None = None, observer: BuildObserver | None = None
) -> BuildResult:
    """The image of *plan*. Raises BuildError, BadContent, NetworkError or StoreError; what was finished until then is kept."""
    started = time.monotonic()
    run_again = sources is not None and sources.run_again
    key = plan_key(plan)
    image = store.find_image(key)
    held = None if image is None else store.hold(image)
    if image is not None and held is not None and not run_again:
        return BuildResult(image, _all_cached(plan.steps, image.layers), time.monotonic() - started, held)
    from runtime.build.step_runner import run_steps

    image, steps, held = run_steps(plan, store, sources=sources or BuildSources(), observer=observer or NullObserver(), key=key)
    return BuildResult(image, steps, time.monotonic() - started, held)


def _all_cached(steps: Sequence[Step], layers: tuple[Layer, ...]) -> tuple[BuiltStep, ...]:
    # Every step has one layer, except an imported image, of which there is at most one in a plan.
    imported = len(layers) - len(steps) + 1
    built = []
    end = 0
    for step in steps:
        begin, end = end, end + (imported if isinstance(step, ImportImage) else 1)
        built.append(BuiltStep(step, layers[begin:end], cached=True, seconds=0.0))
    return tuple(built)


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
