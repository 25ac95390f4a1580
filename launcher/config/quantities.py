"""Durations and sizes as a person writes them: `90s`, `12h`, `512MiB`, `20GB`."""

from __future__ import annotations

import re
from typing import Any

_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|s|m|h|d)")
_SECONDS = {"ms": 1e-3, "s": 1, "m": 60, "h": 3600, "d": 86400}
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([KMGT])(i|iB|B)?", re.IGNORECASE)
_FEWEST_BYTES = 1 << 16
"""A smaller number without a unit was meant in another one."""


def seconds(value: Any) -> Any:
    """`90s`, `30m`, `12h`, `2d` or a number of seconds."""
    if value is None or (isinstance(value, int | float) and not isinstance(value, bool)):
        if value is not None and value < 0:
            raise ValueError("a duration cannot be negative")
        return value if value is None else float(value)
    found = _DURATION.fullmatch(value) if isinstance(value, str) else None
    if not found:
        raise ValueError("not a duration: write `90s`, `30m`, `12h`, `2d`")
    return float(found[1]) * _SECONDS[found[2]]


def size_bytes(value: Any) -> Any:
    """`512MiB`, `16GiB`, `16g`, `16Gi` or a number of bytes. K, Ki, KiB are 1024; KB is 1000."""
    if value is None or (isinstance(value, int) and not isinstance(value, bool)):
        if value is not None and value < 0:
            raise ValueError("a size cannot be negative")
        if value is not None and 0 < value < _FEWEST_BYTES:
            raise ValueError(f"that many bytes, without a unit: did you mean `{value}{'GiB' if value <= 256 else 'MiB'}`?")
        return value
    found = _SIZE.fullmatch(value) if isinstance(value, str) else None
    if not found:
        raise ValueError("not a size: write `512MiB`, `16GiB`")
    unit = 1000 if (found[3] or "").upper() == "B" else 1024
    return int(float(found[1]) * unit ** " KMGT".index(found[2].upper()))
