"""Go's filepath.Match as a regular expression: the patterns of COPY and ADD (`*` and `?` stop at a slash; no `**`).

https://pkg.go.dev/path/filepath#Match. Paths of `.dockerignore` and `--exclude` have another grammar: `dockerignore.py`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache


def has_wildcards(pattern: str) -> bool:
    """Whether *pattern* has a `*`, `?` or `[` that no backslash takes away."""
    return re.search(r"[*?\[]", re.sub(r"\\.", "", pattern)) is not None


@lru_cache(maxsize=256)
def compile_pattern(pattern: str) -> re.Pattern[str]:
    """What one segment of a path has to fit. Raises ValueError for a pattern that Go calls bad."""
    parts = [""]
    at = 0
    while at < len(pattern):
        char = pattern[at]
        if char == "[":
            piece, at = _class(pattern, at)
            parts[-1] += piece
            continue
        if char == "\\":
            at += 1
            if at == len(pattern):
                raise ValueError("a backslash at the end")
            parts[-1] += re.escape(pattern[at])
        elif char == "*":
            parts.append("")
        else:
            parts[-1] += "[^/]" if char == "?" else re.escape(char)
        at += 1
    return re.compile(join_at_stars(parts, "[^/]*"), re.DOTALL)


def join_at_stars(parts: Sequence[str], star: str, *, last: str | None = None) -> str:
    """The regular expression of *parts* with a *star* (`.*`) between each two; *last*: the last one, where it is another.

    Of a part between two stars the first place that fits is taken for good: another would leave less to those behind it, and
    trying all of them takes as many steps as the text is long, to the power of stars.
    """
    if len(parts) == 1:
        return parts[0]
    inner = "".join(f"(?>{star}?{part})" for part in parts[1:-1] if part)
    return f"{parts[0]}{inner}{last or star}{parts[-1]}"


def unescape(pattern: str) -> str:
    """*pattern* without the backslashes that take a meaning away."""
    return re.sub(r"\\(.)", r"\1", pattern)


def _class(pattern: str, at: int) -> tuple[str, int]:
    """`[a-z]` or `[^a]` from *at* on, and where it ends. A `]` cannot stand first in Go, and neither range end may be missing."""
    at += 1
    negated = pattern[at : at + 1] == "^"
    at += negated
    ranges: list[str] = []
    while pattern[at : at + 1] != "]" or not ranges:
        low, at = _member(pattern, at)
        high = low
        if pattern[at : at + 1] == "-":
            high, at = _member(pattern, at + 1)
        ranges.append(f"{re.escape(low)}-{re.escape(high)}" if low <= high else "")
    body = "".join(ranges)
    if negated:
        return f"[^/{body}]", at + 1
    return (f"(?!/)[{body}]" if body else "(?!)"), at + 1


def _member(pattern: str, at: int) -> tuple[str, int]:
    if pattern[at : at + 1] == "\\":
        at += 1
    elif pattern[at : at + 1] in ("-", "]"):
        raise ValueError("a character class that is no class")
    if at >= len(pattern):
        raise ValueError("a character class that does not end")
    return pattern[at], at + 1
