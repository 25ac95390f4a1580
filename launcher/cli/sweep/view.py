"""A sweep for whoever watches: a live table on a terminal, one line an ended trial elsewhere."""

from __future__ import annotations

import sys
import time
from collections import Counter, deque
from collections.abc import Iterable, Mapping
from statistics import fmean
from typing import TYPE_CHECKING

from launcher.cli import render
from launcher.cli.sweep.summary import best_lines, outcome
from launcher.journal.status import Stage
from launcher.sweep.capacity import Offer
from launcher.sweep.followed import Ended, FollowedSweep, Started
from launcher.sweep.stage import StagedRun
from launcher.sweep.trial_log import Verdict
from launcher.tracking.record.run_record import fold
from runtime.light_dataclasses import dataclass

if TYPE_CHECKING:
    from rich.live import Live
    from rich.table import Table

_DRAWN_EVERY_S = 0.25
_MOST_SHOWN = 200

_NOT_RUNNING = {Stage.QUEUED: "in line for a GPU", Stage.ENDED: "sending what is recorded"}


class PlainView:
    """Lines on stderr: no terminal, or `-q`."""

    def __init__(self, sweep: FollowedSweep, *, quiet: bool = False) -> None:
        self._sweep = sweep
        self._quiet = quiet

    def take_over(self, events: Iterable[Started | Ended]) -> None:
        """What happened before anybody watched."""

    def show(self, events: Iterable[Started | Ended]) -> None:
        for event in events:
            if isinstance(event, Ended) and not self._quiet:
                render.say(plain_line(event, self._sweep.total))

    def tick(self) -> None:
        return

    def message(self, text: str) -> None:
        if not self._quiet:
            render.say(text)

    def close(self) -> None:
        return


def plain_line(event: Ended, total: int | None) -> str:
    """`trial 3/6  params.lr=0.1  finished 1.6 s  loss 0.1`"""
    return f"trial {event.number}/{total or '?'}  {' '.join(event.overrides)}  {_outcome(event)}"


def _outcome(event: Ended) -> str:
    record = fold(event.run_dir)
    words = str(event.verdict) if record is None else outcome(record)
    return f"{words}, tried again" if event.verdict is Verdict.AGAIN else words


@dataclass(slots=True)
class _Row:
    """An ended try; its outcome is looked up when it is first shown."""

    event: Ended
    words: str = ""


class _OpenTrial:
    """A try that has not ended, as far as the sweep has said."""

    def __init__(self, begun: Started) -> None:
        self.begun = begun
        self._staged = None if begun.node is not None else StagedRun(begun.run_dir)  # a cluster's files are far away

    def stage(self) -> Stage:
        return Stage.HOLDING if self._staged is None else self._staged.look()


class LiveView:
    """A table that is redrawn: the best so far, what runs, and as many of the last ended trials as a screen holds. It goes when
    the watching ends: the last lines of a sweep have them all."""

    def __init__(self, sweep: FollowedSweep, offer: Offer) -> None:
        from rich.console import Console
        from rich.live import Live

        self._sweep, self._offer = sweep, offer
        self._open: dict[int, _OpenTrial] = {}
        self._ended: deque[_Row] = deque(maxlen=_MOST_SHOWN)
        self._runs: dict[int, str] = {}
        self._durations: deque[float] = deque(maxlen=50)
        self._number_ended = 0
        self._drawn_at = 0.0
        self._console = Console(file=render.screen(sys.stderr), highlight=False)
        self._live: Live = Live(console=self._console, refresh_per_second=4, auto_refresh=False, transient=True)
        self._live.start()

    def take_over(self, events: Iterable[Started | Ended]) -> None:
        """What happened before anybody watched."""
        self.show(events)

    def show(self, events: Iterable[Started | Ended]) -> None:
        for event in events:
            if isinstance(event, Started):
                self._open[event.number] = _OpenTrial(event)
            else:
                self._end(event)

    def _end(self, event: Ended) -> None:
        self._ended.append(_Row(event))
        self._runs[event.number] = event.run_dir.run_id
        self._number_ended += event.verdict.is_final
        opened = self._open.pop(event.number, None)
        if opened is not None:
            self._durations.append(event.at - opened.begun.at)

    def tick(self) -> None:
        if time.monotonic() - self._drawn_at >= _DRAWN_EVERY_S:
            self._draw()

    def message(self, text: str) -> None:
        self._console.print(render.escaped(text), markup=False, highlight=False)

    def close(self) -> None:
        self._draw()
        self._live.stop()

    def _draw(self) -> None:
        from rich.console import Group

        self._drawn_at = time.monotonic()
        best = best_lines(self._sweep.best()[:1], self._runs, self._sweep.settings)
        stages = self._stages()
        self._live.update(Group(self._headline(stages), *best, self._table(stages)), refresh=True)

    def _stages(self) -> dict[int, Stage]:
        return {number: opened.stage() for number, opened in self._open.items()}

    def _headline(self, stages: Mapping[int, Stage]) -> str:
        """`12 of 50 trials ended, 4 running, gpus 4 of 8, about 3 m 05 s left`"""
        total, counted = self._sweep.total, Counter(stages.values())
        running = len(stages) - counted[Stage.QUEUED] - counted[Stage.ENDED]
        words = [f"{self._number_ended} of {total or '?'} trials ended, {running} running"]
        words += [f"{counted[stage]} {said}" for stage, said in _NOT_RUNNING.items() if counted[stage]]
        gpus = sum(self._open[number].begun.gpus for number, stage in stages.items() if stage is Stage.HOLDING)
        if self._sweep.place is not None:
            words.append(self._sweep.place)
        elif gpus:
            words.append(f"gpus {gpus:g} of {self._offer.gpus}")
        if total is not None and self._durations and running:
            left = (total - self._number_ended) * fmean(self._durations) / running
            words.append(f"about {render.duration(left)} left")
        return ", ".join(words)

    def _table(self, stages: Mapping[int, Stage]) -> Table:
        from rich.table import Table

        table = Table(box=None)
        for column in ("trial", "run", "overrides", "outcome"):
            table.add_column(column)
        room = max(3, self._console.size.height - 5)
        now = time.time()
        rows: list[tuple[Started | Ended, str]] = []
        for number, opened in self._open.items():
            words = _NOT_RUNNING.get(stages[number]) or f"running {render.duration(now - opened.begun.at)}"
            rows.append((opened.begun, f"{words}{_on(opened.begun.node)}"))
        for event, words in [*self._last_ended(max(0, room - len(rows))), *rows][-room:]:
            table.add_row(str(event.number), event.run_dir.run_id, " ".join(event.overrides), words)
        return table

    def _last_ended(self, count: int) -> list[tuple[Started | Ended, str]]:
        rows = list(self._ended)[-count:] if count else []
        for row in rows:
            row.words = row.words or _outcome(row.event)
        return [(row.event, row.words) for row in rows]


def _on(node: str | None) -> str:
    return "" if node is None else f" on {node}"


def sweep_view(sweep: FollowedSweep, offer: Offer, *, quiet: bool) -> PlainView | LiveView:
    if sys.stderr.isatty() and not quiet:
        return LiveView(sweep, offer)
    return PlainView(sweep, quiet=quiet)
