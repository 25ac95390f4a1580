"""Two runs side by side: was it made of the same, and did the same come out, metric by metric, step by step, file by file?

Equal metrics don't prove an equal run (a loss can be bit-equal while the weights differ), so outputs are compared by hash.
Metrics of wall-clock time are left out: `*_s`, `time/*`, `system/*`.
"""

from __future__ import annotations

import json
import math
from contextlib import suppress
from enum import StrEnum
from typing import Any

from launcher.run.compare.input_diff import Cause, inputs
from launcher.tracking.record.record_files import output_digests
from launcher.tracking.record.regular_files import is_of_workspace
from launcher.tracking.record.run_record import RunRecord, strict
from runtime.json_files import json_objects
from runtime.light_dataclasses import dataclass
from runtime.state_dir import RunDir

Series = dict[tuple[str, int], float]
"""(metric, step) → value; where a step repeats, the later value counts."""


class Verdict(StrEnum):
    IDENTICAL = "identical"
    METRICS_IDENTICAL = "metrics identical"
    """To the last bit; outputs differ, or there are none."""
    OUTPUTS_IDENTICAL = "outputs identical"
    """There are no metrics."""
    WITHIN_TOLERANCE = "within tolerance"
    DIFFERENT = "different"
    NOTHING = "nothing to compare"


@dataclass(frozen=True, slots=True)
class Difference:
    """The first place where a metric differs; None where a run has no such step."""

    metric: str
    step: int
    before: float | None
    after: float | None


@dataclass(frozen=True, slots=True)
class Comparison:
    same: tuple[str, ...]
    """What is equal: image, code, data, params, ..."""
    causes: tuple[Cause, ...]
    """What differs, the likeliest cause of other results first."""
    metrics: int
    equal_metrics: int
    steps: int
    first_difference: Difference | None
    """To the last bit."""
    beyond_tolerance: Difference | None
    outputs: int
    equal_outputs: int
    outputs_decide: bool = True
    """Not where all of them were found in the working directory, beside metrics: who wrote a log there promised nothing of it."""
    rtol: float = 0.0
    exit_codes: tuple[int | None, int | None] = (0, 0)

    @property
    def verdict(self) -> Verdict:
        if self.beyond_tolerance is not None or self.exit_codes[0] != self.exit_codes[1]:
            return Verdict.DIFFERENT
        same_outputs = self.outputs == self.equal_outputs
        if self.first_difference is not None:
            return Verdict.WITHIN_TOLERANCE
        if self.metrics:
            return Verdict.IDENTICAL if self.outputs and same_outputs else Verdict.METRICS_IDENTICAL
        if self.outputs:
            return Verdict.OUTPUTS_IDENTICAL if same_outputs else Verdict.DIFFERENT
        return Verdict.NOTHING

    @property
    def is_verified(self) -> bool:
        """Whether all that came out is the same; with a tolerance, whether all metrics are within it."""
        if self.rtol:
            return self.verdict not in (Verdict.DIFFERENT, Verdict.NOTHING)
        alike = (Verdict.IDENTICAL, Verdict.METRICS_IDENTICAL, Verdict.OUTPUTS_IDENTICAL)
        return self.verdict in alike and not self.has_other_outputs

    @property
    def has_other_outputs(self) -> bool:
        """Whether an output differs that has to be the same."""
        return self.outputs_decide and self.outputs != self.equal_outputs

    def to_json(self) -> dict[str, Any]:
        first = self.beyond_tolerance or self.first_difference
        return {
            "verdict": self.verdict,
            "is_verified": self.is_verified,
            "differs": [cause.text for cause in self.causes],
            "same": list(self.same),
            "metrics": self.metrics,
            "equal_metrics": self.equal_metrics,
            "first_difference": None if first is None else strict([first.metric, first.step, first.before, first.after]),
            "outputs": self.outputs,
            "equal_outputs": self.equal_outputs,
        }


def compare(before: RunRecord, after: RunRecord, *, rtol: float = 0.0) -> Comparison:
    """Compare two ended runs of one experiment. *rtol*: how much each value may differ, relative to the larger one."""
    same, causes = inputs(before, after)
    old, new = read_series(before.run_dir), read_series(after.run_dir)
    names = {name for name, _step in old} | {name for name, _step in new}
    equal = sum(_of(old, name) == _of(new, name) for name in names)
    old_files, new_files = outputs_of(before.run_dir), outputs_of(after.run_dir)
    written = old_files.keys() | new_files.keys()
    files = {name for name in written if not is_of_workspace(name)}
    outputs_decide = bool(files) or not names
    files = files or written
    return Comparison(
        same=same,
        causes=causes,
        metrics=len(names),
        equal_metrics=equal,
        steps=len({step for _name, step in old}),
        first_difference=_first_difference(old, new, rtol=0.0),
        beyond_tolerance=_first_difference(old, new, rtol=rtol),
        outputs=len(files),
        equal_outputs=sum(old_files.get(name) == new_files.get(name) for name in files),
        outputs_decide=outputs_decide,
        rtol=rtol,
        exit_codes=(before.exit_code, after.exit_code),
    )


def read_series(run_dir: RunDir) -> Series:
    """Every metric of a run: from its metrics file, and what it sent through the MLflow gateway (`metric_log.py`)."""
    series: Series = {}
    for line in json_objects(run_dir.metrics):
        for name, value in line.items():
            if name not in ("step", "time"):
                _add(series, name, line.get("step", 0), value)
    for point in json_objects(run_dir.logged):
        if "key" in point:
            value = point.get("value")
            # NaN and the infinities are words there, as MLflow wants them.
            _add(series, str(point["key"]), point.get("step", 0), float(value) if value in _NO_JSON_NUMBERS else value)
    return series


_NO_JSON_NUMBERS = ("NaN", "Infinity", "-Infinity")


def _add(series: Series, name: str, step: Any, value: Any) -> None:
    numbers = all(isinstance(number, int | float) and not isinstance(number, bool) for number in (step, value))
    if numbers and not is_wall_clock(name):
        with suppress(OverflowError, ValueError):  # a step that is NaN, a value that no float can hold
            series[name, int(step)] = float(value)


def is_wall_clock(name: str) -> bool:
    return name.endswith("_s") or name.startswith(("time/", "system/"))


def _of(series: Series, name: str) -> list[tuple[int, str]]:
    # repr: NaN is equal to itself here, and 0.0 differs from -0.0.
    return sorted((step, repr(value)) for (metric, step), value in series.items() if metric == name)


def _first_difference(old: Series, new: Series, *, rtol: float) -> Difference | None:
    for name, step in sorted(old.keys() | new.keys(), key=lambda key: (key[1], key[0])):
        before, after = old.get((name, step)), new.get((name, step))
        if before is None or after is None or not _is_near(before, after, rtol):
            return Difference(name, step, before, after)
    return None


def _is_near(before: float, after: float, rtol: float) -> bool:
    return repr(before) == repr(after) or (rtol > 0 and math.isclose(before, after, rel_tol=rtol))


def outputs_of(run_dir: RunDir) -> dict[str, str]:
    """Path → digest of each output; of a run whose files are elsewhere as its record has them."""
    listed = run_dir.root / "outputs.json"
    if run_dir.outputs.is_dir() or not listed.is_file():
        return output_digests(run_dir.outputs)
    return {str(path): str(digest) for path, digest in json.loads(listed.read_bytes()).items()}
