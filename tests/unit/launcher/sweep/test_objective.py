"""Which trial of a sweep is called the best."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

import pytest

from launcher.config.spec import Sweep
from launcher.sweep.objective import best_trial
from launcher.sweep.run_sweep import Trial
from launcher.tracking.record import RunRecord
from launcher.tracking.status import RunStatus
from runtime.state_dir import RunDir


def ended(number: int, loss: float | None, status: RunStatus = RunStatus.FINISHED) -> tuple[Trial, RunRecord]:
    trial = Trial(number, (f"params.x={number}",), cast(Any, None), cast(Any, None))
    metrics = {} if loss is None else {"loss": loss}
    return trial, RunRecord(RunDir(Path(f"/{number}")), str(number), status, datetime.now(UTC), metrics=metrics)


TRIALS = [ended(1, 0.5), ended(2, math.nan), ended(3, 0.1, RunStatus.FAILED), ended(4, None), ended(5, 0.2)]


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        pytest.param(Sweep(metric="loss"), 5, id="smallest that finished"),
        pytest.param(Sweep(metric="loss", direction="maximize"), 1, id="greatest, and NaN is none"),
        pytest.param(Sweep(metric="accuracy"), None, id="a metric that nobody reported"),
        pytest.param(Sweep(), None, id="no metric"),
    ],
)
def test_the_best_trial(settings: Sweep, expected: int | None) -> None:
    best = best_trial(TRIALS, settings)
    assert expected == (best[0].number if best else None)
