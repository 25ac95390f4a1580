"""A BuildPlan becomes an Image: what is there is taken, the rest is made.

`build` first asks the store for the finished image of the whole plan, which costs a read or two; only when that fails does it
go through the steps (`step_runner.py`). `explain` in `step_states.py` tells beforehand what would be done. Kinds of steps are
`apply_*.py`.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from runtime.build.cache_key import plan_key
from runtime.build.observer import BuildObserver, NullObserver
from runtime.build.plan import BuildPlan
from runtime.build.sources import BuildSources
from runtime.build.step_states import BuiltStep, layers_by_step
from runtime.light_dataclasses import dataclass
from runtime.store.in_use import HeldImage
from runtime.store.records import Image
from runtime.store.store import Store


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
    plan: BuildPlan,
    store: Store,
    *,
    sources: BuildSources | None = None,
    observer: BuildObserver | None = None,
    before_steps: Callable[[], None] = lambda: None,
) -> BuildResult:
    """The image of *plan*. *before_steps* is called where it isn't there yet, or shall be made again.

    Raises BuildError, BadContent, NetworkError or StoreError; what was finished until then is kept.
    """
    started = time.monotonic()
    run_again = sources is not None and sources.run_again
    key = plan_key(plan)
    image = store.find_image(key)
    held = None if image is None else store.hold(image)
    if image is not None and held is not None and not run_again:
        found = zip(plan.steps, layers_by_step(plan.steps, image.layers), strict=True)
        steps = tuple(BuiltStep(step, layers, cached=True, seconds=0.0) for step, layers in found)
        return BuildResult(image, steps, time.monotonic() - started, held)
    from runtime.build.step_runner import run_steps

    before_steps()
    image, steps, held = run_steps(plan, store, sources=sources or BuildSources(), observer=observer or NullObserver(), key=key)
    return BuildResult(image, steps, time.monotonic() - started, held)
