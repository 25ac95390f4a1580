"""Files of ours that are a JSON object, or one in each line: facts that somebody left, or did not come to leave;
and the values of an object by their dotted names."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any


def json_object(path: Path) -> dict[str, Any]:
    """What it holds; nothing when it is not there, or is none."""
    try:
        document = json.loads(path.read_bytes())
    except (FileNotFoundError, ValueError):
        return {}
    return document if isinstance(document, dict) else {}


def json_objects(path: Path) -> Iterator[dict[str, Any]]:
    """Every whole object in order; a line that is none is skipped, and a file that is not there has none."""
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


def flat(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """`opt.lr` and its value, for each that is no mapping, or an empty one."""
    for name, value in values.items():
        if isinstance(value, Mapping) and value:
            yield from flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value
