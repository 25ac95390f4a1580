"""What a build tells about itself while it runs: a protocol, and the observer that says nothing.

Calls may come from several threads. Rendering is `launcher.cli`.
"""

from __future__ import annotations

from typing import Protocol

from runtime.build.plan import Step
from runtime.store.records import Layer


class BuildObserver(Protocol):
    """Told in this order for each step: `step_cached`, or `step_started` … `step_built`."""

    def step_cached(self, step: Step, layers: tuple[Layer, ...]) -> None: ...

    def step_started(self, step: Step) -> None: ...

    def step_built(self, step: Step, layers: tuple[Layer, ...], seconds: float) -> None: ...

    def download(self, label: str, done_bytes: int, total_bytes: int | None) -> None:
        """*label* names one progress bar; called with growing *done_bytes*."""

    def message(self, text: str) -> None:
        """A line worth showing: a warning."""

    def output(self, step: Step, line: str) -> None:
        """A line that the command of *step* printed; the end of it is in the error when the command fails."""


class PlanObserver(BuildObserver, Protocol):
    """Hears of the work before a build, too."""

    def working(self, label: str | None) -> None:
        """What is going on that is no step, and may take a while; None: it is over."""


class NullObserver:
    """Says nothing."""

    def step_cached(self, step: Step, layers: tuple[Layer, ...]) -> None:
        return

    def step_started(self, step: Step) -> None:
        return

    def step_built(self, step: Step, layers: tuple[Layer, ...], seconds: float) -> None:
        return

    def download(self, label: str, done_bytes: int, total_bytes: int | None) -> None:
        return

    def message(self, text: str) -> None:
        return

    def output(self, step: Step, line: str) -> None:
        return
