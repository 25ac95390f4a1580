"""A sweep for whoever watches: a live table on a terminal, one line an ended trial elsewhere, a summary at the end."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from launcher.cli import render
from launcher.config.spec import Sweep
from launcher.sweep.run_sweep import SweepEnd
from launcher.sweep.study import Study
from launcher.sweep.trial import EndedTrial, Trial
from launcher.tracking.record import RunRecord, fold
from launcher.tracking.status import RunStatus
from runtime.state_dir import RunDir, StateDir

if TYPE_CHECKING:
    from rich.live import Live

_METRICS_SHOWN = 3
_TRIALS_SHOWN = 100
_FRONT_SHOWN = 10


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
    """A table that is redrawn: one row a trial that runs or has ended."""

    def __init__(self, study: Study) -> None:
        from rich.console import Console
        from rich.live import Live

        self._study = study
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
        table = Table(
            title=f"{ended} of {self._study.total or '?'} trials ended, {len(self._begun)} running",
            title_justify="left",
            box=None,
        )
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


def sweep_view(study: Study, *, quiet: bool) -> PlainView | LiveView:
    if sys.stderr.isatty() and not quiet:
        return LiveView(study)
    return PlainView(study, quiet=quiet)


def outcome(record: RunRecord) -> str:
    """`finished 3.2 s  val_accuracy 0.97`"""
    words = "finished"
    if record.status is not RunStatus.FINISHED:
        words = f"{record.status.value.lower()} ({record.reason}, exit code {record.exit_code})"
    metrics = "  ".join(f"{name} {render.number(value)}" for name, value in list(record.metrics.items())[:_METRICS_SHOWN])
    return f"{words} {render.duration(record.duration_s)}  {metrics}".rstrip()


def print_sweep_summary(parent: RunDir, state: StateDir, end: SweepEnd, total: int, sweep: Sweep) -> None:
    """How many did what, the best trial where `sweep.metric` names one, and where to look."""
    _print_trials(parent.run_id, state, end.trials)
    others = [f"{len(end.trials) - end.finished} did not"] if len(end.trials) > end.finished else []
    others += [f"{total - len(end.trials)} not started"] if total > len(end.trials) else []
    render.say(", ".join([f"sweep {parent.run_id}: {end.finished} of {total} trials finished", *others]))
    recorded = fold(parent)
    if recorded is not None and recorded.mlflow_url:
        render.say(f"  mlflow {recorded.mlflow_url}")
    runs = {trial.number: trial.run_id for trial in end.trials}
    for best in end.best[:_FRONT_SHOWN]:
        mean = f" (mean of {best.seeds} seeds)" if best.seeds > 1 else ""
        values = "  ".join(f"{name} {render.number(value)}" for name, value in zip(sweep.metrics, best.values, strict=True))
        broken = "" if all(violation <= 0 for violation in best.violations) else ", which breaks a constraint"
        render.say(f"  best   trial {best.trial}, run {runs[best.trial]}: {values}{mean} with {' '.join(best.overrides)}{broken}")
    if len(end.best) == 1:
        render.say(f"  again  launch rerun {runs[end.best[0].trial]}   (the best trial)")
    elif len(end.best) > _FRONT_SHOWN:
        render.say(f"  and {len(end.best) - _FRONT_SHOWN} more that no other trial beats")


def _print_trials(sweep_id: str, state: StateDir, trials: Sequence[EndedTrial]) -> None:
    if len(trials) > _TRIALS_SHOWN:
        render.say(f"  trials  launch runs --where 'sweep = {sweep_id}'")
        return
    records = [(trial, fold(state.run(trial.run_id))) for trial in trials]
    rows = [
        (trial.number, trial.run_id, " ".join(trial.overrides), outcome(record))
        for trial, record in records
        if record is not None
    ]
    if rows:
        render.say(render.table(("TRIAL", "RUN", "OVERRIDES", "OUTCOME"), rows))
