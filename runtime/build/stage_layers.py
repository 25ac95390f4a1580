"""How a step gets at the layers of another stage: a function, since those are made only when a step needs them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from runtime.errors import BuildError
from runtime.store.records import Layer

StageLayers = Callable[[int], Sequence[Layer]]
"""Number in `BuildPlan.stages` → its layers, bottom first, made where they are missing."""


def no_stage(number: int) -> Sequence[Layer]:
    """For who makes no stages."""
    raise BuildError(f"stage {number} is not built")
