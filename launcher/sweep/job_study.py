"""The trials of a sweep that somebody else thinks up, as Hydra's sweepers do: a space without points, and a queue."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from launcher.config.spec import Sweep
from launcher.config.sweep_dimension import Dimension
from launcher.sweep.ending import End
from launcher.sweep.search import Chosen
from launcher.sweep.study import Asked, Study


class _NothingToChoose:
    """A search that never chooses."""

    def ask(self, number: int) -> Chosen | None:
        return None

    def adopt(self, number: int, chosen: Chosen) -> None:
        return

    def report(self, number: int, value: float) -> bool:
        return False

    def tell(self, number: int, end: End) -> None:
        return


class JobStudy(Study):
    """Trials are numbered over all batches."""

    def __init__(self) -> None:
        super().__init__(_NothingToChoose(), [Dimension("job")], Sweep())
        self.hopeless = False
        """No more are started: what one has shown holds for all."""

    def add(self, batch: Iterable[Sequence[str]]) -> None:
        self._enqueued.extend(tuple(overrides) for overrides in batch)

    def ask(self) -> Asked | None:
        return None if self.hopeless else super().ask()
