"""What a trial's record says to the search."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from pathlib import Path

import pytest

from launcher.config.spec import Sweep
from launcher.journal.status import RunStatus
from launcher.sweep.search.objective import trial_end, violations
from launcher.sweep.search.protocol import End, EndState
from launcher.tracking.record.run_record import RunRecord
from runtime.state_dir import RunDir

LOSS = Sweep(metric="loss")


def record(
    status: RunStatus = RunStatus.FINISHED, reason: str = "completed", directory: Path = Path("/none"), **metrics: float
) -> RunRecord:
    return RunRecord(RunDir(directory), "7f3a9c", status, datetime.now(UTC), reason=reason, metrics=metrics)


@pytest.mark.parametrize(
    ("ended", "sweep", "expected"),
    [
        pytest.param(record(loss=0.5), LOSS, End(EndState.COMPLETE, (0.5,)), id="the last value"),
        pytest.param(record(loss=math.nan), LOSS, End(EndState.FAILED), id="NaN is no value"),
        pytest.param(record(), LOSS, End(EndState.FAILED), id="nothing was reported"),
        pytest.param(record(), Sweep(), End(EndState.COMPLETE), id="nothing is optimised"),
        pytest.param(record(RunStatus.FAILED, "program", loss=0.1), LOSS, End(EndState.FAILED), id="it failed"),
        pytest.param(record(RunStatus.KILLED, "pruned", loss=0.1), LOSS, End(EndState.PRUNED), id="it was pruned"),
        pytest.param(
            record(acc=0.9, ms=12.0),
            Sweep(metric=("acc", "ms"), direction=("maximize", "minimize"), constraints=("ms <= 10", "acc >= 0.5")),
            End(EndState.COMPLETE, (0.9, 12.0), (2.0, -0.4)),
            id="several objectives, and constraints",
        ),
    ],
)
def test_a_trial_ends(ended: RunRecord, sweep: Sweep, expected: End) -> None:
    assert expected == trial_end(ended, sweep)


def test_value_best_looks_at_every_step(tmp_path: Path) -> None:
    run_dir = RunDir(tmp_path)
    run_dir.metrics.write_text("".join(f'{{"step": {step}, "loss": {loss}}}\n' for step, loss in enumerate([0.5, 0.1, 0.9])))
    ended = record(directory=tmp_path, loss=0.9)
    assert [(0.9,), (0.1,)] == [trial_end(ended, Sweep(metric="loss", value=value)).values for value in ("last", "best")]


def test_a_constraint_on_what_was_not_reported_is_broken() -> None:
    assert (math.inf,) == violations(["latency_ms <= 20"], {})
