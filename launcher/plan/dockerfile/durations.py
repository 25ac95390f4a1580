"""Times as Go writes them (`1m30s`, `1.5h`, `300ms`): flags of HEALTHCHECK, which an image's configuration has in nanoseconds."""

from __future__ import annotations

import re
from fractions import Fraction

_UNITS = {
    "ns": 1,
    "us": 1_000,
    "µs": 1_000,
    "μs": 1_000,
    "ms": 1_000_000,
    "s": 1_000_000_000,
    "m": 60_000_000_000,
    "h": 3_600_000_000_000,
}
_PART = re.compile(r"(\d+\.?\d*|\.\d+)(ns|us|µs|μs|ms|s|m|h)", re.ASCII)
_LONGEST = 2**63 - 1


class DurationError(ValueError):
    """Not a time that Go reads."""


def nanoseconds(text: str) -> int:
    """*text* in nanoseconds. Raises DurationError."""
    sign, unsigned = (-1, text[1:]) if text.startswith("-") else (1, text.removeprefix("+"))
    if unsigned == "0":
        return 0
    at, total = 0, 0
    while at < len(unsigned) or not unsigned:
        part = _PART.match(unsigned, at)
        if part is None:
            raise DurationError("it is numbers with a unit each: h, m, s, ms, us, ns")
        total += int(Fraction(part[1].rstrip(".")) * _UNITS[part[2]])
        at = part.end()
    if total > _LONGEST:
        raise DurationError("it is too long")
    return sign * total
