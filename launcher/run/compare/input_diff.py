"""What two runs were made of, side by side: what of it is the same, and what differs, the likeliest cause of other results first.

From the two run directories alone. What came out of it is `compare.py`, everything that differs `run_difference.py`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from launcher.tracking.record.run_record import RunRecord
from runtime.light_dataclasses import dataclass

_MACHINE = ("gpu_models", "cpu", "kernels", "driver", "gpu_power_limits")
"""Facts of the machine that change results, in the order of how much."""

_WORDS = {"gpu_models": "GPU", "cpu": "CPU", "kernels": "CPU level", "driver": "driver", "gpu_power_limits": "power limit"}


@dataclass(frozen=True, slots=True)
class Cause:
    """Something that differs, and may be why the results do."""

    name: str
    before: Any
    after: Any
    hint: str | None = None
    """A command, or what to do."""
    says_values: bool = True
    """False where the two values would tell nobody anything: digests."""

    @property
    def text(self) -> str:
        return f"{self.name} {_shown(self.before)} → {_shown(self.after)}" if self.says_values else self.name


def inputs(before: RunRecord, after: RunRecord) -> tuple[tuple[str, ...], tuple[Cause, ...]]:
    """Names of what is the same, and the causes."""
    old, new = plan_document(before), plan_document(after)
    same: list[str] = []
    causes: list[Cause] = []
    for name, differing in (
        ("image", list(_digests(before, after, "image_digest", "image"))),
        ("code", list(_digests(before, after, "code_digest", "code"))),
        ("lock", list(_digests(before, after, "lock_digest", "lock"))),
        ("data", list(_data(old, new))),
        ("params", list(_mappings("params", before.params, after.params))),
        ("seed", list(_values("seed", before.seed, after.seed))),
        ("environment", list(_environment(old, new))),
        ("threads", list(_threads(before, old, new))),
    ):
        causes += differing
        if not differing and (name != "data" or old.get("data")):
            same.append(name)
    if not causes:
        causes += _values("command", " ".join(before.argv), " ".join(after.argv))
    for fact in _MACHINE:
        differing = list(_fact(before, after, fact))
        causes += differing
        if not differing and before.facts.get(fact):
            same.append(_WORDS[fact])
    return tuple(same), tuple(causes)


def plan_document(record: RunRecord) -> Mapping[str, Any]:
    """`plan.json`'s plan; empty for the parent of a sweep, which has none."""
    try:
        plan: Mapping[str, Any] = json.loads(record.run_dir.plan.read_bytes())["plan"]
    except FileNotFoundError:
        return {}
    return plan


def _digests(before: RunRecord, after: RunRecord, field: str, name: str) -> Iterator[Cause]:
    old, new = getattr(before, field), getattr(after, field)
    if old != new:
        yield Cause(name, old, new, says_values=False)


def _data(old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[Cause]:
    earlier, later = old.get("data") or {}, new.get("data") or {}
    for name in sorted(earlier.keys() | later.keys()):
        pins = [(each.get(name) or {}) for each in (earlier, later)]
        if pins[0].get("digest") != pins[1].get("digest"):
            hint = f"`data.{name}=PATH` names data that is as it was"
            yield Cause(f"data.{name}", _size_of(pins[0]), _size_of(pins[1]), hint=hint)


def _size_of(pin: Mapping[str, Any]) -> str | None:
    return f"{pin['files']} files, {pin['size_bytes']} bytes ({str(pin['digest'])[7:15]})" if pin else None


def _environment(old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[Cause]:
    specs = [plan.get("spec") or {} for plan in (old, new)]
    yield from _mappings("env", *(spec.get("env") or {} for spec in specs))
    yield from _values("deterministic", *(spec.get("deterministic") for spec in specs))


def _threads(before: RunRecord, old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[Cause]:
    hint = f"launch rerun {before.run_id} cpus={old.get('cpus'):g}" if old.get("cpus") else None
    for name in ("threads", "processes", "gpus"):
        for cause in _values(name, old.get(name), new.get(name)):
            yield Cause(cause.name, cause.before, cause.after, hint=hint if name == "threads" else None)


def _fact(before: RunRecord, after: RunRecord, fact: str) -> Iterator[Cause]:
    old, new = before.facts.get(fact), after.facts.get(fact)
    if old == new or old is None or new is None:
        return
    hints = {
        "gpu_models": f"launch rerun {before.run_id} gpu.model='{str(old).partition(',')[0]}'",
        "cpu": None if before.facts.get("kernels") == after.facts.get("kernels") else _ONE_LEVEL,
        "kernels": _ONE_LEVEL,
        "gpu_power_limits": "it changes speed, and results only of what chooses by time: tuned kernels, time limits",
    }
    yield Cause(_WORDS[fact], old, new, hint=hints.get(fact))


_ONE_LEVEL = "`deterministic: true` in the experiment holds libraries to one level on all CPUs"


def _mappings(name: str, old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[Cause]:
    for key in sorted(old.keys() | new.keys()):
        yield from _values(f"{name}.{key}", old.get(key), new.get(key))


def _values(name: str, old: Any, new: Any) -> Iterator[Cause]:
    if old != new:
        yield Cause(name, old, new)


def _shown(value: Any) -> str:
    if value is None:
        return "nothing"
    return value if isinstance(value, str) else json.dumps(value)
