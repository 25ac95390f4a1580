"""What a trial's record says to the search: complete with these values, pruned, or failed."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence

from launcher.config.spec import Sweep
from launcher.journal.status import Reason, RunStatus
from launcher.run.compare.compare import read_series
from launcher.sweep.search.protocol import End, EndState
from launcher.tracking.record.run_record import RunRecord


def trial_end(record: RunRecord, sweep: Sweep) -> End:
    """How the trial ended, by `sweep.metric`, `direction` and `value`; without a number for a metric it has failed."""
    if record.reason == Reason.PRUNED:
        return End(EndState.PRUNED)
    values = tuple(
        _value(record, name, direction, sweep) for name, direction in zip(sweep.metrics, sweep.directions, strict=False)
    )
    if record.status is not RunStatus.FINISHED or not all(map(math.isfinite, values)):
        return End(EndState.FAILED)
    return End(EndState.COMPLETE, values, violations(sweep.constraints, record.metrics))


def reports(record: RunRecord, metric: str) -> Sequence[float]:
    """What the trial reported of *metric*, in the order of its steps."""
    return [value for (name, _step), value in sorted(read_series(record.run_dir).items()) if name == metric]


def _value(record: RunRecord, metric: str, direction: str, sweep: Sweep) -> float:
    """The last value, or with `value: best` the best of all steps; NaN where nothing was reported."""
    if sweep.value == "last":
        return record.metrics.get(metric, math.nan)
    choose = max if direction == "maximize" else min
    return choose(filter(math.isfinite, reports(record, metric)), default=math.nan)


_FORM = re.compile(r"(\S+?)\s*(<=|>=)\s*(\S+)")


def violations(constraints: Sequence[str], metrics: Mapping[str, float]) -> tuple[float, ...]:
    """How far each constraint (`latency_ms <= 20`) is broken by the last values of *metrics*; infinitely, where there is none."""
    return tuple(_violation(constraint, metrics) for constraint in constraints)


def _violation(constraint: str, metrics: Mapping[str, float]) -> float:
    match = _FORM.fullmatch(constraint.strip())
    assert match is not None, "the schema has checked it"
    value, bound = metrics.get(match[1], math.nan), float(match[3])
    if not math.isfinite(value):
        return math.inf
    return value - bound if match[2] == "<=" else bound - value
