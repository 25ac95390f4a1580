"""Which trial was the best: by the last value of `sweep.metric`, among those that finished. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence

from launcher.config.spec import Sweep
from launcher.sweep.run_sweep import Trial
from launcher.tracking.record import RunRecord
from launcher.tracking.status import RunStatus


def best_trial(ended: Sequence[tuple[Trial, RunRecord]], sweep: Sweep) -> tuple[Trial, RunRecord] | None:
    """None without a metric, or when no finished trial has reported a number for it."""
    metric = sweep.metric
    if metric is None:
        return None
    scored = [
        pair for pair in ended if pair[1].status is RunStatus.FINISHED and math.isfinite(pair[1].metrics.get(metric, math.nan))
    ]
    choose = max if sweep.direction == "maximize" else min
    return choose(scored, key=lambda pair: pair[1].metrics[metric]) if scored else None
