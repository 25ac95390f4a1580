"""A sweep for whoever watches: a live table on a terminal, one line an ended trial elsewhere."""

from __future__ import annotations

import sys
import time
from collections import deque
from statistics import fmean
from typing import TYPE_CHECKING

from launcher.cli import render
from launcher.cli.sweep.summary import best_lines, outcome
from launcher.config.spec import Sweep
from launcher.sweep.capacity import Offer
from launcher.sweep.study import Study
from launcher.sweep.trial import Trial
from launcher.tracking.record import RunRecord
from runtime.state_dir import RunDir

if TYPE_CHECKING:
    from rich.live import Live
    from rich.table import Table

_DRAWN_EVERY_S = 0.25


class PlainView:
    """Lines on stderr: no terminal, or `-q`."""

    def __init__(self, study: Study, *, quiet: bool = False) -> None:
        self._study = study
        self._quiet = quiet

    def started(self, trial: Trial, run_dir: RunDir) -> None:
        return

    def ended(self, trial: Trial, record: RunRecord) -> None:
        if not self._quiet:
            render.say(f"trial {trial.number}/{self._study.total or '?'}  {' '.join(trial.overrides)}  {outcome(record)}")

    def tick(self) -> None:
        return

    def message(self, text: str) -> None:
        render.say(text)

    def close(self) -> None:
        return


class LiveView:
    """A table that is redrawn: the best so far, what runs, and as many of the last ended trials as a screen holds."""

    def __init__(self, study: Study, settings: Sweep, offer: Offer) -> None:
        from rich.console import Console
        from rich.live import Live

        self._study, self._settings, self._offer = study, settings, offer
        self._running: dict[int, tuple[Trial, str, float]] = {}
        self._ended: deque[tuple[Trial, str, str]] = deque(maxlen=200)
        self._runs: dict[int, str] = {}
        self._durations: deque[float] = deque(maxlen=50)
        self._number_ended = 0
        self._drawn_at = 0.0
        self._console = Console(stderr=True, highlight=False)
        self._live: Live = Live(console=self._console, refresh_per_second=4, auto_refresh=False)
        self._live.start()

    def started(self, trial: Trial, run_dir: RunDir) -> None:
        self._running[trial.number] = (trial, run_dir.run_id, time.monotonic())

    def ended(self, trial: Trial, record: RunRecord) -> None:
        self._ended.append((trial, record.run_id, outcome(record)))
        self._runs[trial.number] = record.run_id
        self._number_ended += 1
        begun = self._running.pop(trial.number, None)
        if begun is not None:
            self._durations.append(time.monotonic() - begun[2])

    def tick(self) -> None:
        if time.monotonic() - self._drawn_at >= _DRAWN_EVERY_S:
            self._draw()

    def message(self, text: str) -> None:
        self._console.print(text, markup=False, highlight=False)

    def close(self) -> None:
        self._draw()
        self._live.stop()

    def _draw(self) -> None:
        from rich.console import Group

        self._drawn_at = time.monotonic()
        best = best_lines(self._study.best()[:1], self._runs, self._settings)
        self._live.update(Group(self._headline(), *best, self._table()), refresh=True)

    def _headline(self) -> str:
        """`12 of 50 trials ended, 4 running, gpus 4 of 8, about 3 m 05 s left`"""
        total, needs = self._study.total, [trial.need for trial, _, _ in self._running.values()]
        words = [f"{self._number_ended} of {total or '?'} trials ended, {len(self._running)} running"]
        gpus = sum(need.gpus for need in needs)
        words += [f"gpus {gpus:g} of {self._offer.gpus}"] if gpus else []
        if total is not None and self._durations and self._running:
            left = (total - self._number_ended) * fmean(self._durations) / len(self._running)
            words.append(f"about {render.duration(left)} left")
        return ", ".join(words)

    def _table(self) -> Table:
        from rich.table import Table

        table = Table(box=None)
        for column in ("trial", "run", "overrides", "outcome"):
            table.add_column(column)
        room = max(3, self._console.size.height - 5)
        now = time.monotonic()
        rows = [(trial, run_id, f"running {render.duration(now - begun)}") for trial, run_id, begun in self._running.values()]
        for trial, run_id, words in [*list(self._ended)[-max(0, room - len(rows)) :], *rows][-room:]:
            table.add_row(str(trial.number), run_id, " ".join(trial.overrides), words)
        return table


def sweep_view(study: Study, settings: Sweep, offer: Offer, *, quiet: bool) -> PlainView | LiveView:
    if sys.stderr.isatty() and not quiet:
        return LiveView(study, settings, offer)
    return PlainView(study, quiet=quiet)
