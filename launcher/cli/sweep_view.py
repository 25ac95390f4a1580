"""A sweep for whoever watches: a live table on a terminal, one line an ended trial elsewhere, a summary at the end."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING

from launcher.cli import render
from launcher.config.spec import Sweep
from launcher.sweep.objective import best_point
from launcher.sweep.run_sweep import Trial
from launcher.tracking.record import RunRecord, fold
from launcher.tracking.status import RunStatus
from runtime.state_dir import RunDir

if TYPE_CHECKING:
    from rich.live import Live

_METRICS_SHOWN = 3


class PlainView:
    """Lines on stderr: no terminal, or `-q`."""

    def __init__(self, total: int, *, quiet: bool = False) -> None:
        self._total = total
        self._quiet = quiet

    def started(self, trial: Trial, run_dir: RunDir) -> None:
        return

    def ended(self, trial: Trial, record: RunRecord) -> None:
        if not self._quiet:
            render.say(f"trial {trial.number}/{self._total}  {' '.join(trial.overrides)}  {outcome(record)}")

    def tick(self) -> None:
        return

    def message(self, text: str) -> None:
        render.say(text)

    def close(self) -> None:
        return


class LiveView:
    """A table that is redrawn: one row a trial that runs or has ended."""

    def __init__(self, total: int) -> None:
        from rich.console import Console
        from rich.live import Live

        self._total = total
        self._rows: dict[int, tuple[Trial, str, str]] = {}
        self._begun: dict[int, float] = {}
        self._live: Live = Live(console=Console(stderr=True), refresh_per_second=4, auto_refresh=False)
        self._live.start()

    def started(self, trial: Trial, run_dir: RunDir) -> None:
        self._begun[trial.number] = time.monotonic()
        self._rows[trial.number] = (trial, run_dir.run_id, "running")
        self._draw()

    def ended(self, trial: Trial, record: RunRecord) -> None:
        self._rows[trial.number] = (trial, record.run_id, outcome(record))
        del self._begun[trial.number]
        self._draw()

    def tick(self) -> None:
        self._draw()

    def message(self, text: str) -> None:
        self._live.console.print(text)

    def close(self) -> None:
        self._draw()
        self._live.stop()

    def _draw(self) -> None:
        from rich.table import Table

        ended = len(self._rows) - len(self._begun)
        table = Table(title=f"{ended} of {self._total} trials ended, {len(self._begun)} running", title_justify="left", box=None)
        for column in ("trial", "run", "overrides", "outcome"):
            table.add_column(column)
        # Everything that runs, and as many ended ones as a screen holds.
        numbers = sorted(self._rows)[-30:]
        for number in numbers:
            trial, run_id, words = self._rows[number]
            if number in self._begun:
                words = f"running {render.duration(time.monotonic() - self._begun[number])}"
            table.add_row(str(number), run_id, " ".join(trial.overrides), words)
        self._live.update(table, refresh=True)


def sweep_view(total: int, *, quiet: bool) -> PlainView | LiveView:
    if sys.stderr.isatty() and not quiet:
        return LiveView(total)
    return PlainView(total, quiet=quiet)


def outcome(record: RunRecord) -> str:
    """`finished 3.2 s  val_accuracy 0.97`"""
    words = "finished"
    if record.status is not RunStatus.FINISHED:
        words = f"{record.status.value.lower()} ({record.reason}, exit code {record.exit_code})"
    metrics = "  ".join(f"{name} {render.number(value)}" for name, value in list(record.metrics.items())[:_METRICS_SHOWN])
    return f"{words} {render.duration(record.duration_s)}  {metrics}".rstrip()


def print_sweep_summary(parent: RunDir, ended: list[tuple[Trial, RunRecord]], total: int, sweep: Sweep) -> None:
    """How many did what, the best trial where `sweep.metric` names one, and where to look."""
    finished = sum(record.status is RunStatus.FINISHED for _trial, record in ended)
    others = [f"{len(ended) - finished} did not"] if len(ended) > finished else []
    others += [f"{total - len(ended)} not started"] if total > len(ended) else []
    rows = [(trial.number, record.run_id, " ".join(trial.overrides), outcome(record)) for trial, record in ended]
    if rows:
        render.say(render.table(("TRIAL", "RUN", "OVERRIDES", "OUTCOME"), rows))
    render.say(", ".join([f"sweep {parent.run_id}: {finished} of {total} trials finished", *others]))
    recorded = fold(parent)
    if recorded is not None and recorded.mlflow_url:
        render.say(f"  mlflow {recorded.mlflow_url}")
    best = best_point(ended, sweep)
    if best is not None:
        mean = f" (mean of {best.seeds} seeds)" if best.seeds > 1 else ""
        reached = f"{sweep.metric} {render.number(best.value)}{mean} with {' '.join(best.trial.overrides)}"
        render.say(f"  best   trial {best.trial.number}, run {best.record.run_id}: {reached}")
        render.say(f"  again  launch rerun {best.record.run_id}   (the best trial)")
