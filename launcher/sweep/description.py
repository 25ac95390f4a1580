"""`sweep.json` in the directory of a sweep's parent run: what it searches and how it was asked for.

A resumed sweep is composed again from the files as they are now. What must be the same (the space, the way of searching, the
rest of the specification, the code, the images) is compared; how much and how long (`trials`, `parallel`, `timeout`, …) may
change.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from launcher.config.spec import ExperimentSpec, Sweep, from_json, to_json
from launcher.config.sweep_dimension import Dimension
from runtime.json_files import flat
from runtime.light_dataclasses import asdict, dataclass, replace
from runtime.whole_file import replace_file

_MAY_CHANGE = (
    *("trials", "parallel", "timeout", "on_failure", "max_failures", "retries", "on_oom", "enqueue"),
    "space",  # the dimensions say it
)
_NO_PART_OF_IT = (
    *("sweep", "description", "tags", "tracking", "cluster", "timeout", "grace", "retries", "notify"),
    *("secrets", "image"),
)


@dataclass(frozen=True, slots=True)
class SweepRequest:
    """How the sweep was asked for."""

    overrides: tuple[str, ...]
    requirements: tuple[str, ...]
    command: tuple[str, ...] | None
    config_dir: str | None
    cwd: str
    name: str | None = None
    note: str | None = None


def describe(spec: ExperimentSpec, dimensions: tuple[Dimension, ...], *, code: Mapping[str, str]) -> dict[str, Any]:
    """Everything that must stay the same, flat: `space.params.lr` → its values. *code*: image → digest of its code."""
    sweep = {key: value for key, value in to_json(spec.sweep or Sweep()).items() if key not in _MAY_CHANGE}
    rest = {key: value for key, value in to_json(spec).items() if key not in _NO_PART_OF_IT}
    swept = {dimension.key for dimension in dimensions}
    return {
        **{f"space.{dimension.key}": _words(dimension) for dimension in dimensions},
        **dict(_said(sweep, "sweep.")),
        **{key: value for key, value in _said(rest) if key not in swept},
        **{f"code of image {number}": digest for number, digest in enumerate(sorted(set(code.values())), 1)},
        **{f"image {number}": digest for number, digest in enumerate(sorted(code), 1)},
    }


@dataclass(frozen=True, slots=True)
class SweepDescription:
    """`sweep.json`."""

    request: SweepRequest
    settings: Sweep
    dimensions: tuple[Dimension, ...]
    same: Mapping[str, Any]
    """What must stay the same, see `describe`."""


def write(path: Path, description: SweepDescription) -> None:
    document = {
        "request": asdict(description.request),
        "settings": to_json(description.settings),
        "dimensions": [{**asdict(replace(each, origin=None))} for each in description.dimensions],
        "same": description.same,
    }
    replace_file(path, json.dumps(document))


def read(path: Path) -> SweepDescription:
    """Raises FileNotFoundError for the parent of a sweep that an older launch made."""
    document = json.loads(path.read_text())
    asked = document["request"]
    command = None if asked["command"] is None else tuple(asked["command"])
    lists = {name: tuple(asked[name]) for name in ("overrides", "requirements")}
    dimensions = (
        Dimension(**{**each, "choices": tuple(each["choices"]), "values": tuple(each["values"])})
        for each in document["dimensions"]
    )
    return SweepDescription(
        SweepRequest(**{**asked, **lists, "command": command}),
        from_json(Sweep, document["settings"]),
        tuple(dimensions),
        document["same"],
    )


def changes(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """`params.epochs: 20 → 5`, one a line. What stands at its default now, and *before* does not name, an older launch may not
    have known."""
    as_written = json.loads(json.dumps(now))
    defaults = dict(_said(to_json(ExperimentSpec(name=""))))
    known = {**{key: value for key, value in as_written.items() if defaults.get(key) == value}, **before}
    return [
        f"{key}: {_display(known.get(key))} → {_display(as_written.get(key))}"
        for key in sorted(known.keys() | as_written.keys())
        if known.get(key) != as_written.get(key)
    ]


def _words(dimension: Dimension) -> str:
    if dimension.choices:
        return f"choice({', '.join(choice.partition('=')[2] for choice in dimension.choices)})"
    kind = f"{'int ' if dimension.integer else ''}{'log ' if dimension.log else ''}interval"
    return f"{kind}({dimension.low}, {dimension.high})"


def _said(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    return ((name, value) for name, value in flat(values, prefix) if value not in (None, {}, [], ""))


def _display(value: Any) -> str:
    return "(none)" if value is None else value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
