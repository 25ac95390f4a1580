"""A build's progress for whoever watches: a line for what was built; on a terminal also lines for what is going on, elsewhere one
every ten seconds.

Wheels are installed as one batch and shown as one. rich is imported when the first line is drawn, so a launch that builds
nothing never pays for it; what a line says is `progress_lines.py`.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from launcher.cli import render
from launcher.cli.arguments import Talk
from runtime.build.plan import BuildPlan, InstallWheel, Step
from runtime.build.step_label import step_label
from runtime.plurals import counted
from runtime.store.records import Layer

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderResult
    from rich.live import Live

    from launcher.cli.progress_lines import Download, RunningStep

_REDRAWN_A_SECOND = 8
_SAID_EVERY_S = 10.0
"""Where nothing can be redrawn: a log of CI, a file."""


class BuildProgress:
    """The BuildObserver of the command line. Called from several threads."""

    def __init__(self, steps: Collection[Step] = (), *, verbose: bool = False, said_every_s: float = _SAID_EVERY_S) -> None:
        """*steps* are those of the image; what other stages need is built beside them."""
        self._said_every_s = said_every_s
        self._over = threading.Event()
        self._speaker: threading.Thread | None = None
        self._verbose = verbose
        self._cached = set(steps)
        self._built = 0
        self._begun = time.perf_counter()
        self._lock = threading.RLock()
        self._live: Live | None = None
        self._live_lines = _LiveLines()
        self._wheels: dict[Step, int | None] = {}
        """The batch: wheel → bytes of its layer once it is built."""
        self._wheel_seconds = 0.0

    def step_cached(self, step: Step, layers: tuple[Layer, ...]) -> None:
        with self._lock:
            if self._verbose:
                self._line(f"{render.styled('cached', 'dim')}  {step_label(step)}  {render.size(_size(layers))}")
            if step in self._wheels:
                # Another launch made it meanwhile.
                del self._wheels[step]
                self._end_batch()

    def step_started(self, step: Step) -> None:
        with self._lock:
            if isinstance(step, InstallWheel):
                self._wheels[step] = None
                self._show(_BATCH, self._batch_label("installing"))
            else:
                self._show(step, step_label(step))

    def step_built(self, step: Step, layers: tuple[Layer, ...], seconds: float) -> None:
        with self._lock:
            self._built += 1
            self._cached.discard(step)
            if step in self._wheels:
                self._wheels[step] = _size(layers)
                self._wheel_seconds += seconds
                if self._verbose:
                    self._line(_built_line(step_label(step), None, _size(layers)))
                self._end_batch()
                return
            self._live_lines.steps.pop(step, None)
            self._line(_built_line(step_label(step), seconds, _size(layers)))

    def download(self, label: str, done_bytes: int, total_bytes: int | None) -> None:
        with self._lock:
            self._begin_telling()
            from launcher.cli.progress_lines import Download

            if total_bytes is not None and done_bytes >= total_bytes:
                self._live_lines.downloads.pop(label, None)
                return
            shown = self._live_lines.downloads.setdefault(label, Download(label))
            shown.update(done_bytes, total_bytes, now=time.monotonic())

    def message(self, text: str) -> None:
        with self._lock:
            self._line(text)

    def working(self, label: str | None) -> None:
        with self._lock:
            if label is None:
                self._live_lines.steps.pop(_WORK, None)
            else:
                self._show(_WORK, label)

    def output(self, step: Step, line: str) -> None:
        """What a build command prints is shown with --verbose; otherwise its last line stands beside the step."""
        with self._lock:
            if self._verbose:
                self._line(f"{render.styled('|', 'dim')} {line}")
            elif (shown := self._live_lines.steps.get(step)) is not None:
                shown.detail = "".join(char if char.isprintable() else " " for char in line).strip()

    def hide(self) -> None:
        """Take the lines of what is going on away."""
        self._over.set()
        with self._lock:
            self._over, self._speaker = threading.Event(), None
            if self._live is not None:
                self._live.stop()
                self._live = None

    def close(self, *, complete: bool = False) -> None:
        """The same, and say what was done, if anything was. Not *complete*: the build failed."""
        with self._lock:
            self.hide()
            if not self._built:
                return
            if complete:
                seconds = time.perf_counter() - self._begun
                render.say(f"image: {counted(self._built, 'layer')} built, {len(self._cached)} cached, {seconds:.1f} s")
            else:
                are = "is" if self._built == 1 else "are"
                render.say(f"no image; the {counted(self._built, 'layer')} built before this {are} kept")

    # The batch of wheels

    def _batch_label(self, doing: str) -> str:
        name = step_label(next(iter(self._wheels))) if len(self._wheels) == 1 else f"{len(self._wheels)} wheels"
        return f"{doing} {name}".lstrip()

    def _end_batch(self) -> None:
        sizes = [size for size in self._wheels.values() if size is not None]
        if len(sizes) < len(self._wheels):
            return
        self._live_lines.steps.pop(_BATCH, None)
        if sizes:
            self._line(_built_line(self._batch_label(""), self._wheel_seconds, sum(sizes)))
        self._wheels.clear()
        self._wheel_seconds = 0.0

    # Drawing

    def _line(self, text: str) -> None:
        if self._live is not None:
            from rich.text import Text

            self._live.console.print(Text.from_ansi(render.escaped(text)), soft_wrap=True)
        else:
            render.say(text)

    def _show(self, key: object, label: str) -> None:
        from launcher.cli.progress_lines import RunningStep

        shown = self._live_lines.steps.setdefault(key, RunningStep(label, time.monotonic()))
        shown.label = label
        self._begin_telling()

    def _begin_telling(self) -> None:
        """Draw what is going on, where stderr is a terminal; elsewhere say it from time to time."""
        if self._live is None and sys.stderr.isatty():
            self._live = _start_drawing(self._live_lines)
        if self._live is None and self._speaker is None:
            self._speaker = threading.Thread(target=self._speak, args=(self._over,), name="build-progress", daemon=True)
            self._speaker.start()

    def _speak(self, is_over: threading.Event) -> None:
        while not is_over.wait(self._said_every_s):
            with self._lock:
                if words := self._live_lines.summary(time.monotonic()):
                    self._line(words)


_BATCH = "wheels"
"""Key of the batch's line."""
_WORK = "work"
"""Key of the line for what is no step."""


class _LiveLines:
    """What is going on, drawn by rich in a thread of its own: it takes no lock of ours, and copies a list in one piece."""

    def __init__(self) -> None:
        self.steps: dict[object, RunningStep] = {}
        self.downloads: dict[str, Download] = {}

    def summary(self, now: float) -> str | None:
        """What has gone on for longest, and the download that has most to come, in one line."""
        steps, downloads = list(self.steps.values()), list(self.downloads.values())
        words = [step.words(now) for step in sorted(steps, key=lambda step: step.begun_at)[:1]]
        words += [f"and {counted(len(steps) - 1, 'other')}"] if len(steps) > 1 else []
        words += [download.words() for download in sorted(downloads, key=lambda each: each.done - (each.total or 0))[:1]]
        return f"still:  {', '.join(words)}" if words else None

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        from rich.text import Text

        now = time.monotonic()
        plain = not console.encoding.lower().startswith("utf")
        # The last column stays free: some terminals wrap when it is written.
        width = max(options.max_width - 1, 1)
        lines = [step.line(now, width=width, plain=plain) for step in list(self.steps.values())]
        lines += [download.line(width=width, plain=plain) for download in list(self.downloads.values())]
        for line in lines:
            yield Text(line, no_wrap=True, overflow="crop")


def _start_drawing(live_lines: _LiveLines) -> Live:
    from rich.console import Console
    from rich.live import Live

    live = Live(
        live_lines,
        console=Console(file=render.screen(sys.stderr), highlight=False),
        transient=True,
        refresh_per_second=_REDRAWN_A_SECOND,
        redirect_stdout=False,
        redirect_stderr=False,
    )
    live.start()
    return live


def _size(layers: tuple[Layer, ...]) -> int:
    return sum(layer.size_bytes for layer in layers)


def _built_line(label: str, seconds: float | None, size_bytes: int) -> str:
    took = "" if seconds is None else f"  {seconds:.1f} s"
    return f"{render.styled('built', 'green')}   {label}{took}  {render.size(size_bytes)}"


@contextmanager
def build_progress(plan: BuildPlan, talk: Talk) -> Iterator[BuildProgress | None]:
    """Show the build of *plan* for the body, and say at its end what was done; None when nothing is to be said."""
    if talk is Talk.QUIET:
        yield None
        return
    progress = BuildProgress(plan.steps, verbose=talk is Talk.VERBOSE)
    try:
        yield progress
    except BaseException:
        progress.close()
        raise
    progress.close(complete=True)


@contextmanager
def passing_progress(talk: Talk) -> Iterator[BuildProgress | None]:
    """Show what is fetched or built in the body for something else: for a plan a base whose Python has to be asked."""
    if talk is Talk.QUIET:
        yield None
        return
    progress = BuildProgress(verbose=talk is Talk.VERBOSE)
    try:
        yield progress
    finally:
        progress.hide()
