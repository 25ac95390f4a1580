"""Which point of a sweep was the best, by `sweep.metric`, `direction`, `value` and `seeds`.

A trial counts when it finished and its value is a number: the last one it reported, or with `value: best` the best of all steps.
With `seeds: N` a point was run N times; its value is the mean over the runs that count.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

from launcher.config.spec import Sweep
from launcher.run.compare import read_series
from launcher.sweep.run_sweep import Trial
from launcher.tracking.record import RunRecord
from launcher.tracking.status import RunStatus


@dataclass(frozen=True, slots=True)
class Best:
    """The best point: its first trial, and what it reached."""

    trial: Trial
    record: RunRecord
    value: float
    seeds: int
    """Over how many runs *value* is the mean."""


def best_point(ended: Sequence[tuple[Trial, RunRecord]], sweep: Sweep) -> Best | None:
    """None without a metric, or when no finished trial has reported a number for it."""
    if sweep.metric is None:
        return None
    points: dict[tuple[str, ...], list[tuple[Trial, RunRecord, float]]] = {}
    for trial, record in ended:
        value = _value(record, sweep)
        if record.status is RunStatus.FINISHED and math.isfinite(value):
            points.setdefault(_point(trial, sweep), []).append((trial, record, value))
    candidates = [Best(*runs[0][:2], fmean(value for _, _, value in runs), len(runs)) for runs in points.values()]
    choose = max if sweep.direction == "maximize" else min
    return choose(candidates, key=lambda best: best.value) if candidates else None


def _point(trial: Trial, sweep: Sweep) -> tuple[str, ...]:
    """What two runs of one point share: everything that sets the trial apart, but the seed where `seeds` repeats it."""
    if sweep.seeds == 1:
        return (str(trial.number),)
    return tuple(override for override in trial.overrides if not override.startswith("seed="))


def _value(record: RunRecord, sweep: Sweep) -> float:
    metric = str(sweep.metric)
    if sweep.value == "last":
        return record.metrics.get(metric, math.nan)
    reported = [value for (name, _step), value in read_series(record.run_dir).items() if name == metric and math.isfinite(value)]
    choose = max if sweep.direction == "maximize" else min
    return choose(reported, default=math.nan)
