"""Answers that are kept below `StateDir.cache`, one JSON object a file, so that nothing is asked or computed twice."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from runtime.whole_file import replace_file

T = TypeVar("T")


def read_answer(path: Path, made_of: Callable[[dict[str, Any]], T], *, format: int | None = None) -> T | None:
    """What *made_of* makes of the object in *path*. None when there is none, or it has another `format` or can't be read: then
    it is as good as none, and is written again."""
    try:
        document: dict[str, Any] = json.loads(path.read_bytes())
        return made_of(document) if document.get("format") == format else None
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def keep_answer(path: Path, document: Mapping[str, Any]) -> None:
    """A reader sees the old file or the new one."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    replace_file(path, json.dumps(document))
