"""Lines of a Dockerfile as instructions see them: parser directives read, comments gone, continued lines joined, heredocs found.

The rules are BuildKit's (`frontend/dockerfile/parser`):

- A directive (`# escape=` and the like) counts before anything else in the file, once, in any case of letters.
- The escape character at the end of a line, white space behind it or not, continues the line; two of them do not.
- Between continued lines, comments and empty lines are left out; white space that begins a continued line stays.
- `<<NAME`, `<<-NAME`, `<< NAME` and `3<<NAME` begin a heredoc, and `<<"NAME"` keeps variables from being expanded. `<<<word` is a
  here-string: the shell's business. A heredoc's lines are nobody's but its own: `heredoc_content` takes them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from launcher.errors import ConfigError, Origin
from launcher.plan.dockerfile.expand import ExpansionError, is_space, quoted_and_plain, split_keeping
from runtime.light_dataclasses import dataclass

_DIRECTIVE = re.compile(r"([a-zA-Z][a-zA-Z0-9]*)\s*=\s*(.+?)\s*\Z", re.ASCII)
_KNOWN_DIRECTIVES = ("syntax", "escape", "check")


@dataclass(frozen=True, slots=True)
class LogicalLine:
    """One instruction's text with the number of the line it begins in."""

    text: str
    number: int
    empty_continuation: int | None
    """The first empty line between its continued lines."""


class LogicalLines:
    """The file, read once from beginning to end."""

    def __init__(self, text: str, *, path: str, everything_at: Origin | None = None) -> None:
        self.directives: dict[str, str] = {}
        self.escape = "\\"
        self._path = path
        self._everything_at = everything_at
        self._lines = text.removeprefix("\ufeff").split("\n")
        if self._lines[-1] == "":
            self._lines.pop()
        self._at = 0
        self._read_directives()

    def origin(self, number: int) -> Origin:
        return self._everything_at or Origin(file=self._path, line=number)

    def __iter__(self) -> Iterator[LogicalLine]:
        while self._at < len(self._lines):
            line = without_leading_space(self._take())
            if line and not line.startswith("#"):
                yield self._join_continued(line, self._at)

    def heredoc_content(self, name: str, *, chomp: bool, begun_at: int) -> str:
        """The lines up to the one that is *name* alone; with *chomp* it may stand behind tabs."""
        content: list[str] = []
        while self._at < len(self._lines):
            raw = self._lines[self._at]
            line = self._take()
            if (line.lstrip("\t") if chomp else line) == name:
                return "".join(content)
            content.append(raw + "\n")
        raise ConfigError(
            f"the heredoc `<<{'-' if chomp else ''}{name}` does not end",
            origin=self.origin(begun_at),
            hint=f"end it with a line that is `{name}` and nothing else",
        )

    def _take(self) -> str:
        line = self._lines[self._at].rstrip("\r")
        self._at += 1
        return line

    def _join_continued(self, line: str, number: int) -> LogicalLine:
        empty: int | None = None
        line, goes_on = self._without_escape(line)
        parts = [line]
        while goes_on and self._at < len(self._lines):
            line = self._take()
            stripped = without_leading_space(line)
            if not stripped:
                empty = empty or self._at
            elif not stripped.startswith("#"):
                line, goes_on = self._without_escape(line)
                parts.append(line)
        return LogicalLine("".join(parts), number, empty)

    def _without_escape(self, line: str) -> tuple[str, bool]:
        """*line* without the escape character that continues it, and whether there was one."""
        end = line.rstrip(" \t")
        if not end.endswith(self.escape) or end.endswith(self.escape * 2):
            return line, False
        return end[:-1], True

    def _read_directives(self) -> None:
        for number, line in enumerate(self._lines, 1):
            line = without_leading_space(line.rstrip("\r"))
            found = _DIRECTIVE.match(without_leading_space(line[1:])) if line.startswith("#") else None
            if found is None or (name := found[1].lower()) not in _KNOWN_DIRECTIVES:
                return
            if name in self.directives:
                raise ConfigError(f"the parser directive `{name}` stands twice", origin=self.origin(number))
            self.directives[name] = found[2]
            if name == "escape":
                self._set_escape(found[2], number)
            elif name == "syntax":
                _refuse_other_languages(found[2].split(" ")[0], self.origin(number))

    def _set_escape(self, value: str, number: int) -> None:
        if value not in ("\\", "`"):
            raise ConfigError(
                f"`{value}` cannot be the escape character", origin=self.origin(number), hint="it is `\\` or ``` ` ```"
            )
        self.escape = value


def without_leading_space(text: str) -> str:
    """*text* from its first character that is no white space, as Go counts it."""
    return next((text[index:] for index, char in enumerate(text) if not is_space(char)), "")


def strip(text: str) -> str:
    """*text* without white space at both ends, as Go counts it."""
    return without_leading_space(without_leading_space(text)[::-1])[::-1]


def _refuse_other_languages(image: str, origin: Origin) -> None:
    """`# syntax=` names the image of a front end; those named `dockerfile` read what we read."""
    name = image.split("@")[0].rpartition("/")[2].split(":")[0]
    if name not in ("dockerfile", "dockerfile-upstream"):
        raise ConfigError(
            f"`# syntax={image}` asks for another language than that of Dockerfiles",
            origin=origin,
            hint="the instructions of `docker/dockerfile:1` are understood",
        )


_WORD = re.compile(r"(\d*)<<(-?)\s*([^<]*)\Z")


@dataclass(frozen=True, slots=True)
class HeredocWord:
    """What `<<-"EOF"` says."""

    name: str
    expand: bool
    chomp: bool


def heredoc_word(word: str) -> HeredocWord | None:
    """*word* read as the beginning of a heredoc; None when it is another word."""
    found = _WORD.match(word)
    if found is None or not found[3]:
        return None
    try:
        plain, quoted = quoted_and_plain(found[3])
    except ExpansionError:
        return None
    if len(plain) != 1 or len(quoted) != 1:
        return None
    return HeredocWord(plain[0], expand=_quotes(plain[0]) == _quotes(quoted[0]), chomp=found[2] == "-")


def heredoc_words(line: str) -> list[HeredocWord]:
    """Every heredoc that *line* begins, in order."""
    return [found for word in split_keeping(line) if (found := heredoc_word(word))]


def _quotes(word: str) -> int:
    return word.count("'") + word.count('"')
