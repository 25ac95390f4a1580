"""Values out of what stands in a lock's file: any user of the machine may have written anything there, so each is taken or left.

Text becomes printable: a run's "name" could move the cursor of whoever looks.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

_LONGEST_TEXT = 100
_LARGEST = 1 << 62


def text(document: Mapping[str, Any], name: str) -> str | None:
    value = document.get(name)
    if not isinstance(value, str):
        return None
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in value[:_LONGEST_TEXT])


def whole(document: Mapping[str, Any], name: str) -> int | None:
    value = document.get(name)
    return value if isinstance(value, int) and not isinstance(value, bool) and abs(value) < _LARGEST else None


def seconds(document: Mapping[str, Any], name: str) -> float | None:
    """A moment or a duration."""
    value = document.get(name)
    if isinstance(value, int):
        value = whole(document, name)
    return float(value) if isinstance(value, int | float) and math.isfinite(value) and abs(value) < _LARGEST else None
