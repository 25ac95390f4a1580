"""How what floats is pinned, as a value that goes through all of `launcher.plan`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from runtime.build.observer import PlanObserver
from runtime.build.plan import BuildPlan
from runtime.state_dir import StateDir

if TYPE_CHECKING:
    from runtime.build.sources import BuildSources


class Pinning(NamedTuple):
    """Where answers are recorded, whose settings count, and whether what is recorded is asked anew."""

    state: StateDir
    environ: Mapping[str, str]
    refresh: bool = False
    """Ask archive, registry or index even if an answer is recorded."""
    observer: PlanObserver | None = None
    """Hears of what is built or fetched to be asked for its Python."""

    @contextmanager
    def working(self, label: str) -> Iterator[None]:
        """Tell who watches that the body does *label*."""
        if self.observer is not None:
            self.observer.working(label)
        try:
            yield
        finally:
            if self.observer is not None:
                self.observer.working(None)

    def built_layers(self, plan: BuildPlan, sources: BuildSources | None = None) -> Sequence[Path]:
        """Build *plan* where the store does not have it, and give its lower directories, bottom first."""
        from runtime.build.builder import build
        from runtime.store.store import Store

        store = Store(self.state.store)
        image = build(plan, store, sources=sources, observer=self.observer).image
        return [store.layer_dir(layer) for layer in image.layers]
