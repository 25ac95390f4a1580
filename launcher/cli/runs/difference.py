"""`launch diff RUN RUN`: configuration, code, packages, base, data, machine, metrics and outputs side by side."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from typing import Any

from launcher.cli import render
from launcher.cli.plots.terminal import sparkline
from launcher.cli.runs.summary import headline
from launcher.run.compare.run_difference import Change, MetricDifference, RunDifference, run_difference
from launcher.tracking.record.run_record import RunRecord
from runtime.plurals import counted

_SIGNS = {"added": "+", "removed": "-", "changed": "~"}
_MOST_FILES = 20


def diff_runs(before: RunRecord, after: RunRecord, *, as_json: bool) -> int:
    found = run_difference(before, after)
    if as_json:
        render.print_json(found.to_json())
    else:
        for line in _lines(found):
            print(line)
    return 0


def _lines(found: RunDifference) -> Iterator[str]:
    yield headline(found.before)
    yield headline(found.after)
    yield from render.section("configuration", _changes(found.config))
    yield from render.section("code", [*_changes([found.revision] if found.revision else []), *_code(found)])
    yield from render.section("packages", _changes(found.packages))
    yield from render.section("base", _changes([found.base] if found.base else []))
    yield from render.section("data", _changes(found.data))
    yield from render.section("machine", _changes(found.machine))
    yield from render.section("metrics", _metrics(found.metrics))
    yield from render.section("outputs", _outputs(found))


def _changes(changes: Sequence[Change]) -> list[str]:
    """`~ params.lr 0.001 → 0.1   (conf/experiment/digits.yaml:7 → command line: params.lr=0.1)`"""
    lines = []
    for each in changes:
        origins = [render.home_relative(origin) for origin in each.origins if origin]
        origin = f"   ({' → '.join(dict.fromkeys(origins))})" if origins else ""
        lines.append(f"{render.change(each.name, _value(each.before), _value(each.after))}{origin}")
    return lines


def _value(value: Any) -> str | None:
    return value if value is None or isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _code(found: RunDifference) -> list[str]:
    lines = []
    for each in found.code:
        lines.append(f"{_SIGNS[each.kind]} {each.path}")
        lines += [f"    {line}" for line in each.patch[2:]]
    return lines


def _metrics(metrics: Sequence[MetricDifference]) -> list[str]:
    """A table: the last value on both sides, the lowest and highest, and the two curves."""
    if not metrics:
        return []
    rows = [
        (
            each.name,
            _change(_last(each.before), _last(each.after)),
            _change(_finite(each.before, min), _finite(each.after, min)),
            _change(_finite(each.before, max), _finite(each.after, max)),
            "bit-equal" if each.first_different_step is None else f"from step {each.first_different_step}",
            "  ".join(sparkline(side) for side in (each.before, each.after)),
        )
        for each in metrics
    ]
    return render.table(("METRIC", "LAST", "LOWEST", "HIGHEST", "DIFFERS", "CURVES"), rows).splitlines()


def _change(before: float | None, after: float | None) -> str:
    shown = ["-" if value is None else render.number(value) for value in (before, after)]
    return shown[0] if before == after else " → ".join(shown)


def _last(values: tuple[float, ...]) -> float | None:
    return values[-1] if values else None


def _finite(values: tuple[float, ...], choose: Any) -> float | None:
    finite = [value for value in values if math.isfinite(value)]
    return choose(finite) if finite else None


def _outputs(found: RunDifference) -> list[str]:
    if not found.outputs and not found.equal_outputs:
        return []
    lines = [f"{render.sign(each.before, each.after)} {each.name}" for each in found.outputs[:_MOST_FILES]]
    more = len(found.outputs) - len(lines)
    rest = [f"… and {more} more"] if more else []
    return [*lines, *rest, f"{counted(found.equal_outputs, 'file')} with the same sha256"]
