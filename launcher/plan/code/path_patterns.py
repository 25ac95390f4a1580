"""Path patterns with the meaning they have in a .gitignore file (gitignore(5), "PATTERN FORMAT").

Used for `.gitignore` itself where git cannot be asked, and for `code.include` and `code.exclude`, so that one set of rules holds
everywhere. Walking directories is `code_listing.py`. The library pathspec reads other things than git where a bracket or a
backslash has no end, and lets `DIR/**` fit the directory itself, which hides what a later `!` brings back.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from itertools import takewhile

from runtime.light_dataclasses import dataclass

_WILD = re.compile(r"[*?\[\\]")


@dataclass(frozen=True, slots=True)
class IgnoreRule:
    """One line of a .gitignore. *base* is its directory, relative to the walk's root (`""` or `a/b/`)."""

    regex: re.Pattern[str]
    negated: bool
    directories_only: bool
    base: str
    above: str = ""
    """For a rule from above the walk's root: the root's path relative to the rule's directory, with a slash at its end."""

    def matches(self, path: str, *, is_directory: bool) -> bool:
        if self.directories_only and not is_directory:
            return False
        if not path.startswith(self.base):
            return False
        return self.regex.fullmatch(self.above + path, len(self.base)) is not None


def ignore_rules(text: str, *, base: str = "", above: str = "") -> list[IgnoreRule]:
    """The rules of a .gitignore file's *text*, in its order (the last that matches decides)."""
    rules = []
    for line in text.splitlines():
        pattern = _without_trailing_spaces(line)
        if not pattern or pattern.startswith("#"):
            continue
        negated = pattern.startswith("!")
        if negated:
            pattern = pattern[1:]
        directories_only = pattern.endswith("/")
        pattern = pattern.rstrip("/")
        if pattern:
            regex = re.compile(_regex_of(pattern), re.DOTALL)
            rules.append(IgnoreRule(regex, negated, directories_only, base, above))
    return rules


def is_ignored(path: str, rules: Sequence[IgnoreRule], *, is_directory: bool) -> bool:
    """Whether *path* (relative to the walk's root) is ignored; its parents are the caller's to have judged."""
    for rule in reversed(rules):
        if rule.matches(path, is_directory=is_directory):
            return not rule.negated
    return False


@dataclass(frozen=True, slots=True)
class PathFilter:
    """`include` and `exclude` lists. A pattern that names a directory stands for everything below it."""

    included: re.Pattern[str] | None
    """None: everything."""
    excluded: re.Pattern[str] | None
    """None: nothing."""

    def keeps(self, path: str) -> bool:
        if self.included is not None and self.included.fullmatch(path) is None:
            return False
        return self.excluded is None or self.excluded.fullmatch(path) is None


def path_filter(include: Iterable[str], exclude: Iterable[str] = ()) -> PathFilter:
    include = tuple(include)
    return PathFilter(
        included=None if "**" in include else _any_of(include),
        excluded=_any_of(tuple(exclude)),
    )


def plain_beginning(pattern: str) -> str:
    """The path that *pattern* begins with: `data/*.bin` → `data`, `input.txt` → itself, `*.py` → nothing."""
    parts = pattern.removeprefix("./").strip("/").split("/")
    return "/".join(takewhile(lambda part: part not in ("", "..", ".git") and not _WILD.search(part), parts))


def _any_of(patterns: Sequence[str]) -> re.Pattern[str] | None:
    if not patterns:
        return None
    alternatives = []
    for pattern in patterns:
        below_only = pattern.endswith("/")
        regex = _regex_of(pattern.removeprefix("./").rstrip("/"))
        alternatives.append(f"(?:{regex}){'/.+' if below_only else '(?:/.+)?'}")
    return re.compile("|".join(alternatives), re.DOTALL)


def _without_trailing_spaces(line: str) -> str:
    stripped = line.rstrip(" \t\r")
    # A backslash keeps the one space after it ("Trailing spaces are ignored unless they are quoted with backslash").
    return stripped + " " if stripped.endswith("\\") and len(stripped) < len(line) else stripped


def _regex_of(pattern: str) -> str:
    """*pattern*, without trailing slash, as a regular expression over a path relative to the pattern's directory."""
    anchored = "/" in pattern
    pattern = pattern.removeprefix("/")
    regex = "" if anchored else "(?:.*/)?"
    at = 0
    while at < len(pattern):
        piece, at = _next_piece(pattern, at)
        regex += piece
    return regex


def _next_piece(pattern: str, at: int) -> tuple[str, int]:
    """The regular expression of the piece of *pattern* at *at*, and where the next piece begins."""
    character = pattern[at]
    if character == "*":
        end = at
        while end < len(pattern) and pattern[end] == "*":
            end += 1
        at_start = at == 0 or pattern[at - 1] == "/"
        if end - at >= 2 and at_start and end == len(pattern):
            return ".+", end
        if end - at >= 2 and at_start and pattern[end] == "/":
            return "(?:.*/)?", end + 1
        return "[^/]*", end
    if character == "?":
        return "[^/]", at + 1
    if character == "[":
        return _character_class(pattern, at)
    if character == "\\" and at + 1 < len(pattern):
        return re.escape(pattern[at + 1]), at + 2
    return re.escape(character), at + 1


def _character_class(pattern: str, at: int) -> tuple[str, int]:
    end = at + 1
    if end < len(pattern) and pattern[end] in "!^":
        end += 1
    if end < len(pattern) and pattern[end] == "]":
        end += 1
    while end < len(pattern) and pattern[end] != "]":
        end += 1
    if end >= len(pattern):
        return re.escape("["), at + 1
    body = pattern[at + 1 : end]
    negated = body[0] in "!^"
    body = (body[1:] if negated else body).replace("\\", "\\\\").replace("[", "\\[").replace("^", "\\^")
    if body.startswith("]"):
        body = "\\" + body
    # A class never matches a slash (wildmatch with WM_PATHNAME).
    return f"(?!/)[{'^' if negated else ''}{body}]", end + 1
