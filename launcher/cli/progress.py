"""A build's progress for whoever watches: one line a layer; bars for downloads and running steps on a terminal.

rich is imported when the first bar is needed, so a launch that builds nothing never pays for it.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from launcher.cli import render
from launcher.cli.arguments import verbose
from runtime.build.plan import BuildPlan, Step
from runtime.build.step_label import step_label
from runtime.store.records import Layer

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID


class BuildProgress:
    """The BuildObserver of the command line. Called from several threads."""

    def __init__(self, steps: int) -> None:
        self._steps = steps
        self._cached = 0
        self._built = 0
        self._begun = time.perf_counter()
        self._lock = threading.RLock()
        self._live: Progress | None = None
        self._bars: dict[str, TaskID] = {}

    def step_cached(self, step: Step, layer: Layer) -> None:
        with self._lock:
            self._cached += 1
            if verbose():
                self._line(f"{render.styled('cached', 'dim')}  {layer.label}  {render.size(layer.size_bytes)}")

    def step_started(self, step: Step) -> None:
        with self._lock:
            self._bar(step_label(step), None)

    def step_built(self, step: Step, layer: Layer, seconds: float) -> None:
        with self._lock:
            self._built += 1
            self._remove(step_label(step))
            self._line(f"{render.styled('built', 'green')}   {layer.label}  {seconds:.1f} s  {render.size(layer.size_bytes)}")

    def download(self, label: str, done_bytes: int, total_bytes: int | None) -> None:
        with self._lock:
            self._bar(label, total_bytes, done_bytes)
            if total_bytes is not None and done_bytes >= total_bytes:
                self._remove(label)

    def message(self, text: str) -> None:
        with self._lock:
            self._line(text)

    def output(self, step: Step, line: str) -> None:
        """What a build command prints is shown with --verbose; otherwise its last line stands beside the bar."""
        with self._lock:
            if verbose():
                self._line(f"{render.styled('|', 'dim')} {line}")
            elif self._live is not None and step_label(step) in self._bars:
                self._live.update(self._bars[step_label(step)], description=f"{step_label(step)}  {line[:50]}")

    def close(self, *, complete: bool = False) -> None:
        """Take the bars away; say what was done if the image is *complete* and anything was."""
        with self._lock:
            if self._live is not None:
                self._live.stop()
                self._live = None
            if self._built and complete:
                seconds = time.perf_counter() - self._begun
                render.say(f"image: {self._built} layers built, {self._steps - self._built} cached, {seconds:.1f} s")

    def _line(self, text: str) -> None:
        if self._live is not None:
            from rich.text import Text

            self._live.console.print(Text.from_ansi(text))
        else:
            render.say(text)

    def _bar(self, label: str, total: int | None, done: int = 0) -> None:
        if not sys.stderr.isatty():
            return
        if self._live is None:
            self._live = _start_bars()
        if label not in self._bars:
            self._bars[label] = self._live.add_task(label, total=total)
        self._live.update(self._bars[label], completed=done, total=total)

    def _remove(self, label: str) -> None:
        task = self._bars.pop(label, None)
        if task is not None and self._live is not None:
            self._live.remove_task(task)


def _start_bars() -> Progress:
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeElapsedColumn

    progress = Progress(
        TextColumn("{task.description}"),
        BarColumn(bar_width=24),
        DownloadColumn(),
        TimeElapsedColumn(),
        console=Console(stderr=True),
        transient=True,
    )
    progress.start()
    return progress


@contextmanager
def build_progress(plan: BuildPlan) -> Iterator[BuildProgress]:
    """Show the build of *plan* for the body."""
    progress = BuildProgress(len(plan.steps))
    try:
        yield progress
    except BaseException:
        progress.close()
        raise
    progress.close(complete=True)
