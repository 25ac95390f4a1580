"""One metric of one run over its steps or over time, as a curve."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from runtime.json_files import json_objects
from runtime.light_dataclasses import dataclass
from runtime.state_dir import RunDir


@dataclass(frozen=True, slots=True)
class Curve:
    """Points in the order in which they were reported; a repeated step stands there twice."""

    steps: tuple[float, ...]
    seconds: tuple[float, ...]
    """Since the run's first report."""
    values: tuple[float, ...]


def read_curves(run_dir: RunDir) -> dict[str, Curve]:
    """Every metric of the run by name, `system/…` included."""
    points: dict[str, list[tuple[float, float, float]]] = {}
    first_ms: float | None = None
    for entry in json_objects(run_dir.logged):
        if "key" not in entry:
            continue
        try:
            step, at_ms, value = float(entry.get("step", 0)), float(entry["time"]), float(entry["value"])
        except (TypeError, ValueError, KeyError):
            continue
        first_ms = at_ms if first_ms is None else first_ms
        points.setdefault(str(entry["key"]), []).append((step, (at_ms - first_ms) / 1000, value))
    _add_samples(points, run_dir.system_metrics)
    return {name: Curve(*zip(*found, strict=True)) for name, found in points.items()}


def as_columns(curves: Mapping[str, Curve]) -> dict[str, list[float | None]]:
    """*curves* side by side: `step`, and a column for each, with None where it has no value at that step. Of a step that stands
    in a curve twice, the later value."""
    values = {name: dict(zip(curve.steps, curve.values, strict=True)) for name, curve in curves.items()}
    steps = sorted({step for points in values.values() for step in points})
    columns: dict[str, list[float | None]] = {"step": [int(step) if step.is_integer() else step for step in steps]}
    for name, points in values.items():
        columns.setdefault(name, [points.get(step) for step in steps])
    return columns


def _add_samples(points: dict[str, list[tuple[float, float, float]]], samples: Path) -> None:
    """Samples of the machine: the step is the number of the sample, as MLflow shows it."""
    first_s: float | None = None
    for number, sample in enumerate(json_objects(samples)):
        at_s = sample.pop("time", None)
        if not isinstance(at_s, int | float):
            continue
        first_s = at_s if first_s is None else first_s
        for name, value in sample.items():
            if isinstance(value, int | float) and not isinstance(value, bool):
                points.setdefault(f"system/{name}", []).append((float(number), at_s - first_s, float(value)))
