"""What differs between two recorded runs: configuration, code, packages, base, data, machine, metrics, outputs. Pure values.

Read from the two run directories alone, so a run whose image left the store can still be compared. Whether a rerun gave the same
is `compare.py`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

from launcher.plan.code.code_difference import FileDifference, RecordedCode, code_difference
from launcher.plan.program.workdir import workspace_of
from launcher.run.compare.compare import outputs_of, read_series
from launcher.run.compare.input_diff import plan_document
from launcher.tracking.record.run_record import RunRecord
from runtime.json_files import flat
from runtime.light_dataclasses import asdict, dataclass, replace

_NOT_CONFIGURATION = ("sweep",)
"""Where a point of a space came from is no difference between two runs: the point is."""


@dataclass(frozen=True, slots=True)
class Change:
    """One value that differs; None where a run has none."""

    name: str
    before: Any
    after: Any
    origins: tuple[str, str] = ("", "")
    """Where each value came from: `conf/experiment/digits.yaml:7`, `command line: params.lr=0.1`."""


@dataclass(frozen=True, slots=True)
class MetricDifference:
    """One metric of two runs. Values are in the order of their steps; empty where a run has none."""

    name: str
    before: tuple[float, ...]
    after: tuple[float, ...]
    first_different_step: int | None
    """None: bit-equal, step by step."""

    def to_json(self) -> dict[str, Any]:
        sides = {name: _extremes(values) for name, values in (("before", self.before), ("after", self.after))}
        return {"name": self.name, **sides, "first_different_step": self.first_different_step}


@dataclass(frozen=True, slots=True)
class RunDifference:
    before: RunRecord
    after: RunRecord
    config: tuple[Change, ...]
    code: tuple[FileDifference, ...]
    revision: Change | None
    """git's commit."""
    packages: tuple[Change, ...]
    base: Change | None
    data: tuple[Change, ...]
    machine: tuple[Change, ...]
    metrics: tuple[MetricDifference, ...]
    """All metrics, also the equal ones."""
    outputs: tuple[Change, ...]
    """sha256 of files that differ."""
    equal_outputs: int

    def to_json(self) -> dict[str, Any]:
        plain = ("config", "code", "packages", "data", "machine", "outputs")
        return {
            "before": self.before.run_id,
            "after": self.after.run_id,
            **{name: [asdict(each) for each in getattr(self, name)] for name in plain},
            "revision": asdict(self.revision) if self.revision else None,
            "base": asdict(self.base) if self.base else None,
            "metrics": [each.to_json() for each in self.metrics],
            "equal_outputs": self.equal_outputs,
        }


def run_difference(before: RunRecord, after: RunRecord) -> RunDifference:
    """What *after* has that *before* has not, has not, or has in another way."""
    old, new = plan_document(before), plan_document(after)
    old_files, new_files = outputs_of(before.run_dir), outputs_of(after.run_dir)
    return RunDifference(
        before,
        after,
        config=tuple(_config_changes(old, new)),
        code=code_difference(_code(before, old), _code(after, new)),
        revision=_one("git commit", _revision(old), _revision(new)),
        packages=tuple(_changes(_packages(old), _packages(new))),
        base=_one("base", _base(old), _base(new)),
        data=tuple(_changes(_data(old), _data(new))),
        machine=tuple(_changes(_machine(before, old), _machine(after, new))),
        metrics=tuple(_metrics(before, after)),
        outputs=tuple(_changes(old_files, new_files)),
        equal_outputs=sum(new_files.get(name) == digest for name, digest in old_files.items()),
    )


def _changes(before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[Change]:
    for name in sorted(before.keys() | after.keys()):
        if before.get(name) != after.get(name):
            yield Change(name, before.get(name), after.get(name))


def _one(name: str, before: Any, after: Any) -> Change | None:
    return None if before == after else Change(name, before, after)


def _config_changes(old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[Change]:
    origins = [plan.get("origins") or {} for plan in (old, new)]
    values = [{name: value for name, value in flat(plan.get("spec") or {}) if value not in ({}, [])} for plan in (old, new)]
    for change in _changes(*values):
        if change.name.partition(".")[0] not in _NOT_CONFIGURATION:
            yield replace(change, origins=(_origin(origins[0], change.name), _origin(origins[1], change.name)))


def _origin(origins: Mapping[str, str], name: str) -> str:
    """Of the value, or of the nearest mapping around it."""
    while name and name not in origins:
        name = name.rpartition(".")[0]
    return str(origins.get(name, ""))


def _code(record: RunRecord, plan: Mapping[str, Any]) -> RecordedCode:
    files = {str(path): (int(mode), str(sha256)) for path, mode, sha256 in (plan.get("code") or {}).get("files") or []}
    return RecordedCode(record.run_dir.root / "code.tar", workspace_of(str((plan.get("spec") or {}).get("workdir", ""))), files)


def _revision(plan: Mapping[str, Any]) -> str | None:
    git = (plan.get("code") or {}).get("git")
    return f"{git['commit']}{' (dirty)' if git['dirty'] else ''}" if git else None


def _packages(plan: Mapping[str, Any]) -> dict[str, str]:
    lock = plan.get("lock") or {}
    wheels = {str(wheel["name"]): str(wheel["version"]) for wheel in lock.get("wheels") or []}
    return wheels | ({"python": str(lock["python"])} if lock else {})


def _base(plan: Mapping[str, Any]) -> str | None:
    image = (plan.get("spec") or {}).get("image") or {}
    named = image.get("dockerfile") or image.get("base")
    return f"{named} {plan['base_digest']}" if named else None


def _data(plan: Mapping[str, Any]) -> dict[str, str]:
    return {str(name): str(pin["digest"]) for name, pin in (plan.get("data") or {}).items()}


def _machine(record: RunRecord, plan: Mapping[str, Any]) -> dict[str, Any]:
    """Where the run ran and what it had of that machine."""
    share = {name: plan.get(name) for name in ("threads", "cpus", "memory_bytes", "processes") if plan.get(name) is not None}
    return {"host": record.host, **share, "gpus": len(record.gpus), **record.facts}


def _metrics(before: RunRecord, after: RunRecord) -> Iterator[MetricDifference]:
    old, new = _by_name(before), _by_name(after)
    for name in dict.fromkeys((*old, *new)):
        earlier, later = old.get(name, {}), new.get(name, {})
        # repr: NaN is equal to itself here, and 0.0 differs from -0.0.
        different = [step for step in earlier.keys() | later.keys() if repr(earlier.get(step)) != repr(later.get(step))]
        yield MetricDifference(name, _in_order(earlier), _in_order(later), min(different, default=None))


def _by_name(record: RunRecord) -> dict[str, dict[int, float]]:
    found: dict[str, dict[int, float]] = {}
    for (name, step), number in read_series(record.run_dir).items():
        found.setdefault(name, {})[step] = number
    return found


def _in_order(steps: Mapping[int, float]) -> tuple[float, ...]:
    return tuple(steps[step] for step in sorted(steps))


def _extremes(values: tuple[float, ...]) -> dict[str, Any] | None:
    finite = [value for value in values if math.isfinite(value)]
    if not finite:
        return None
    return {"last": finite[-1], "min": min(finite), "max": max(finite), "steps": len(values)}
