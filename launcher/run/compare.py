"""Two runs side by side: same image, code, data, params? Same metrics, step by step? Same outputs, byte for byte?

Equal metrics don't prove an equal run (a loss can be bit-equal while the weights differ), so outputs are compared by hash.
Metrics of wall-clock time are left out: `*_s`, `time/*`, `system/*`.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from launcher.tracking.record import RunRecord
from runtime.oci.digest import digest_file
from runtime.state_dir import RunDir

Series = dict[tuple[str, int], float]
"""(metric, step) → value; where a step repeats, the later value counts."""


@dataclass(frozen=True, slots=True)
class Difference:
    """The first place where a metric differs."""

    metric: str
    step: int
    before: float
    after: float


@dataclass(frozen=True, slots=True)
class Comparison:
    same: tuple[str, ...]
    """What is equal of image, code, lock, params, seed, command."""
    differs: tuple[str, ...]
    """`params.lr 0.001 → 0.01`"""
    metrics: int
    equal_metrics: int
    steps: int
    first_difference: Difference | None
    outputs: int
    equal_outputs: int

    @property
    def verdict(self) -> str:
        """`identical`, `metrics identical` (outputs differ or there are none), `outputs identical` (there are no metrics),
        or `different`."""
        if self.first_difference is not None or self.equal_metrics < self.metrics:
            return "different"
        if self.outputs and self.outputs == self.equal_outputs and self.metrics:
            return "identical"
        if self.metrics:
            return "metrics identical"
        if self.outputs:
            return "outputs identical" if self.outputs == self.equal_outputs else "different"
        return "nothing to compare"


def compare(before: RunRecord, after: RunRecord) -> Comparison:
    """Compare two ended runs of one experiment."""
    same, differs = _inputs(before, after)
    old, new = read_series(before.run_dir), read_series(after.run_dir)
    first = _first_difference(old, new)
    names = {name for name, _step in old} | {name for name, _step in new}
    equal = sum(_of(old, name) == _of(new, name) for name in names)
    old_files, new_files = output_digests(before.run_dir.outputs), output_digests(after.run_dir.outputs)
    files = old_files.keys() | new_files.keys()
    return Comparison(
        same=tuple(same),
        differs=tuple(differs),
        metrics=len(names),
        equal_metrics=equal,
        steps=len({step for _name, step in old}),
        first_difference=first,
        outputs=len(files),
        equal_outputs=sum(old_files.get(name) == new_files.get(name) for name in files),
    )


def read_series(run_dir: RunDir) -> Series:
    """Every metric of a run: from its metrics file, and what it sent through the MLflow gateway (`tracking/observed.py`)."""
    series: Series = {}
    for line in _json_lines(run_dir.metrics):
        for name, value in line.items():
            if name not in ("step", "time"):
                _add(series, name, line.get("step", 0), value)
    for point in _json_lines(run_dir.logged):
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


def _inputs(before: RunRecord, after: RunRecord) -> tuple[list[str], list[str]]:
    pairs: list[tuple[str, Any, Any]] = [
        ("image", before.image_digest, after.image_digest),
        ("code", before.code_digest, after.code_digest),
        ("lock", before.lock_digest, after.lock_digest),
        ("seed", before.seed, after.seed),
        ("command", before.argv, after.argv),
    ]
    same = [name for name, old, new in pairs if old == new]
    differs = [name for name, old, new in pairs if old != new and name != "command"]
    changed = [key for key in before.params.keys() | after.params.keys() if before.params.get(key) != after.params.get(key)]
    differs += [f"params.{key} {before.params.get(key)} → {after.params.get(key)}" for key in sorted(changed)]
    if not changed:
        same.append("params")
    return same, differs


def _of(series: Series, name: str) -> list[tuple[int, str]]:
    # repr: NaN is equal to itself here, and 0.0 differs from -0.0.
    return sorted((step, repr(value)) for (metric, step), value in series.items() if metric == name)


def _first_difference(old: Series, new: Series) -> Difference | None:
    for name, step in sorted(old.keys() & new.keys(), key=lambda key: (key[1], key[0])):
        before, after = old[name, step], new[name, step]
        if repr(before) != repr(after):
            return Difference(name, step, before, after)
    return None


def output_digests(directory: Path) -> dict[str, str]:
    """Path → digest of every file below *directory*; links are left out."""
    found: dict[str, str] = {}
    for parent, _names, files in os.walk(directory):
        for file in files:
            path = Path(parent, file)
            if path.is_file() and not path.is_symlink():
                try:
                    digest = str(digest_file(path))
                except PermissionError:
                    digest = f"unreadable: {path}"  # equal to nothing: what nobody can read, nobody can call the same
                found[str(path.relative_to(directory))] = digest
    return found


def _json_lines(path: Path) -> Iterator[dict[str, Any]]:
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").split("\n")
    except FileNotFoundError:
        return
    for line in lines:
        try:
            document = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if isinstance(document, dict):
            yield document
