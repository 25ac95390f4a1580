"""Which trial of a sweep is called the best."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

import pytest

from launcher.config.spec import Sweep
from launcher.sweep.objective import best_point
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
    best = best_point(TRIALS, settings)
    assert expected == (best.trial.number if best else None)


def with_series(directory: Path, number: int, losses: list[float], *overrides: str) -> tuple[Trial, RunRecord]:
    run_dir = RunDir(directory / str(number))
    run_dir.root.mkdir()
    run_dir.metrics.write_text("".join(f'{{"step": {step}, "loss": {loss}}}\n' for step, loss in enumerate(losses)))
    trial = Trial(number, overrides, cast(Any, None), cast(Any, None))
    return trial, RunRecord(run_dir, str(number), RunStatus.FINISHED, datetime.now(UTC), metrics={"loss": losses[-1]})


def test_value_best_looks_at_every_step(tmp_path: Path) -> None:
    trials = [with_series(tmp_path, 1, [0.1, 0.9]), with_series(tmp_path, 2, [0.5, 0.4])]
    assert [2, 1] == [
        best.trial.number for value in ("last", "best") if (best := best_point(trials, Sweep(metric="loss", value=value)))
    ]


def test_with_seeds_the_mean_of_a_point_counts(tmp_path: Path) -> None:
    trials = [
        with_series(tmp_path, 1, [0.1], "params.x=1", "seed=0"),
        with_series(tmp_path, 2, [0.9], "params.x=1", "seed=1"),
        with_series(tmp_path, 3, [0.3], "params.x=2", "seed=0"),
        with_series(tmp_path, 4, [0.4], "params.x=2", "seed=1"),
    ]
    best = best_point(trials, Sweep(metric="loss", seeds=2))
    assert best is not None
    assert (3, pytest.approx(0.35), 2) == (best.trial.number, best.value, best.seeds)
