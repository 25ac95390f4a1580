"""Patterns of `${NAME#p}`, `${NAME%p}` and `${NAME/p/text}`: `*`, `?`, a backslash before either, and no brackets.

As BuildKit's `convertShellPatternToRegex` reads them. A backslash before `}` or `/` only keeps them from ending the word.
"""

from __future__ import annotations

import re


def without_beginning(pattern: str, value: str, longest: bool) -> str:
    """*value* without the beginning that fits."""
    found = _compiled(pattern, greedy=longest).match(value)
    return value[found.end() :] if found else value


def without_end(pattern: str, value: str, longest: bool) -> str:
    """*value* without the end that fits: the search backwards, since a regular expression takes the leftmost that fits."""
    return without_beginning(_reversed_pattern(pattern), value[::-1], longest)[::-1]


def replaced(pattern: str, value: str, text: str, *, every: bool) -> str:
    """*value* with the first part that fits, or every one, replaced."""
    result: list[str] = []
    at = 0
    last_end = -1
    for found in _compiled(pattern, greedy=True).finditer(value):
        if found.start() == found.end() == last_end:
            continue  # Go's ReplaceAll: nothing that is empty right behind what was replaced
        result += [value[at : found.start()], text]
        at = last_end = found.end()
        if not every:
            break
    return "".join([*result, value[at:]])


def _compiled(pattern: str, *, greedy: bool) -> re.Pattern[str]:
    parts: list[str] = []
    chars = iter(enumerate(pattern))
    for index, char in chars:
        if char == "*":
            parts.append(".*" if greedy else ".*?")
        elif char == "?":
            parts.append(".")
        elif char != "\\":
            parts.append(re.escape(char))
        elif pattern[index + 1 : index + 2] not in ("}", "/"):
            _, escaped = next(chars, (0, ""))
            if not escaped or escaped not in "*?\\":
                raise ValueError(f"`\\{escaped}` is no escape (`\\*`, `\\?` and `\\\\` are)")
            parts.append(re.escape(escaped))
    return re.compile("".join(parts))


def _reversed_pattern(pattern: str) -> str:
    """*pattern* backwards, each backslash still before what it escapes."""
    pieces = re.findall(r"\\.|.", pattern, flags=re.DOTALL)
    return "".join(reversed(pieces))
