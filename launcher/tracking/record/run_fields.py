"""What a run can be asked for by name, in filters, sortings and columns: `metrics.acc`, `params.opt.lr`, `status`, `duration`.

A field that a run lacks is None. Names as in MLflow's search: `metrics.`, `params.`, `tags.` before a name, or an attribute.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from launcher.errors import ConfigError
from launcher.tracking.record.run_record import RunRecord
from runtime.json_files import flat
from runtime.suggestions import did_you_mean

Value = str | int | float | bool | None

ATTRIBUTES: dict[str, Callable[[RunRecord], Any]] = {
    "run": lambda record: record.run_id,
    "mlflow_run": lambda record: record.mlflow_run_id,
    "name": lambda record: record.name or None,
    "experiment": lambda record: record.experiment,
    "note": lambda record: record.note or None,
    "status": lambda record: record.status.value,
    "reason": lambda record: record.reason,
    "exit_code": lambda record: record.exit_code,
    "created": lambda record: record.created_at.timestamp(),
    "started": lambda record: record.started_at.timestamp() if record.started_at else None,
    "duration": lambda record: record.duration_s,
    "attempt": lambda record: record.attempt,
    "seed": lambda record: record.seed,
    "image": lambda record: record.image_digest,
    "code": lambda record: record.code_digest,
    "lock": lambda record: record.lock_digest,
    "sweep": lambda record: record.sweep_id,
    "trial": lambda record: record.trial,
    "gpus": lambda record: len(record.gpus),
    "host": lambda record: record.host,
    "user": lambda record: record.user,
}
"""Times in seconds since 1970, durations in seconds."""

MOMENTS = ("created", "started")
DURATIONS = ("duration",)


def _tags(record: RunRecord) -> Mapping[str, Any]:
    try:
        document = json.loads(record.run_dir.spec.read_bytes())
    except (FileNotFoundError, ValueError):
        return {}
    tags = document.get("tags")
    return tags if isinstance(tags, Mapping) else {}


_KINDS: dict[str, Callable[[RunRecord], Mapping[str, Any]]] = {
    "metrics": lambda record: record.metrics,
    "params": lambda record: record.params,
    "tags": _tags,
    "facts": lambda record: record.facts,
    "usage": lambda record: record.usage,
}


def check(field: str, records: Sequence[RunRecord]) -> None:
    """Refuse a *field* that none of *records* has, with what was probably meant."""
    kind, dot, _name = field.partition(".")
    if field not in ATTRIBUTES and not (dot and kind in _KINDS):
        raise ConfigError(f"unknown field `{field}`", hint=_what_was_meant(field, records))
    if dot and records and all(value(record, field) is None for record in records):
        raise ConfigError(f"no run has `{field}`", hint=_near(field, names(records)))


def value(record: RunRecord, field: str) -> Value:
    """What *record* has for *field*, which has been checked; a list is JSON."""
    kind, _dot, name = field.partition(".")
    return _scalar(ATTRIBUTES[field](record) if field in ATTRIBUTES else _nested(_KINDS[kind](record), name))


def names(records: Iterable[RunRecord], kinds: Iterable[str] = tuple(_KINDS)) -> list[str]:
    """Every field with a dot, of these *kinds*, that one of *records* has."""
    found: dict[str, None] = {}
    for record in records:
        for kind in kinds:
            found.update(dict.fromkeys(f"{kind}.{name}" for name, _value in flat(_KINDS[kind](record))))
    return list(found)


def rows(records: Sequence[RunRecord], fields: Sequence[str] | None = None) -> list[dict[str, Value]]:
    """Each of *records* by *fields*, which have been checked; else by all attributes, parameters and metrics."""
    shown = [*ATTRIBUTES, *names(records, ("params", "metrics"))] if fields is None else fields
    return [{field: value(record, field) for field in shown} for record in records]


def _nested(values: Mapping[str, Any], name: str) -> Any:
    """`opt.lr` is a key of that name, or `lr` in the mapping `opt`."""
    if name in values:
        return values[name]
    head, dot, rest = name.partition(".")
    inner = values.get(head)
    return _nested(inner, rest) if dot and isinstance(inner, Mapping) else None


def _scalar(found: Any) -> Value:
    return json.dumps(found, ensure_ascii=False) if isinstance(found, list | tuple | Mapping) else found


def _what_was_meant(field: str, records: Sequence[RunRecord]) -> str:
    known = [*ATTRIBUTES, *(f"{kind}.NAME" for kind in _KINDS)]
    near = names(records) if "." in field else []
    return _near(field, [*ATTRIBUTES, *_KINDS, *near]) or f"fields are {', '.join(known)}"


def _near(field: str, known: Sequence[str]) -> str | None:
    kind = field.partition(".")[0]
    same_kind = [name for name in known if name.startswith(f"{kind}.")]
    return did_you_mean(field, known) or (f"there are {', '.join(same_kind[:12])}" if same_kind else None)
