"""Ignore files of build contexts, with the patterns of Go's `moby/patternmatcher` as BuildKit walks a context with them.

    # a comment, when the `#` is the line's first character
    build            the file or directory `build` at the top, and all in it; `/build` and `build/` are the same
    *.log  a?c  [ab] `*`, `?` and brackets do not cross a slash
    **/*.pyc         at any depth, the top included; `docs/**` is all below `docs`, not `docs`
    !keep.log        back in, whatever stands before; the last line that fits decides

Unlike Git's, a pattern without a slash counts at the top only, and a `!` works below an excluded directory.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable, Iterable, Sequence

from launcher.errors import ConfigError, Origin
from runtime.build.copy.go_match import compile_pattern
from runtime.light_dataclasses import dataclass, field

_Fits = tuple[bool, ...]
"""Of each pattern: whether it fits a path or a directory above it."""


@dataclass(frozen=True, slots=True)
class _Pattern:
    fits: Callable[[str], object]
    exception: bool


@dataclass(frozen=True, slots=True)
class Ignore:
    """Patterns in their order. Paths are relative to the context, with slashes between and none at the ends."""

    _patterns: tuple[_Pattern, ...]
    _directories: dict[str, _Fits] = field(default_factory=dict, repr=False, compare=False)

    @staticmethod
    def parse(text: str, *, path: str = ".dockerignore") -> Ignore:
        """The ignore file *text*; *path* is what errors call it."""
        lines = text.removeprefix("\ufeff").split("\n")
        patterns = ((number, line) for number, line in enumerate(lines, 1) if not line.startswith("#"))
        return Ignore(tuple(_patterns((Origin(file=path, line=number), line) for number, line in patterns)))

    @staticmethod
    def of(patterns: Iterable[str], *, origin: Origin | None = None) -> Ignore:
        """What `--exclude` gives: patterns, none of them a comment."""
        return Ignore(tuple(_patterns((origin, pattern) for pattern in patterns)))

    @property
    def has_exceptions(self) -> bool:
        """Whether something below an excluded directory may be in again."""
        return any(pattern.exception for pattern in self._patterns)

    def excludes(self, path: str) -> bool:
        """Whether *path* is left out. What lies below it may still be in: see `has_exceptions`."""
        return self._fits(path)[0]

    def _fits(self, path: str) -> tuple[bool, _Fits]:
        """As `MatchesUsingParentResults`: a pattern that fits a directory fits all below it, in the pattern's own turn."""
        above = path.rpartition("/")[0]
        fits_above = self._directory(above) if above else None
        excluded = False
        fits: list[bool] = []
        for index, pattern in enumerate(self._patterns):
            fit = fits_above is not None and fits_above[index]
            if not fit and pattern.exception == excluded:
                fit = bool(pattern.fits(path))
            fits.append(fit)
            if fit:
                excluded = not pattern.exception
        return excluded, tuple(fits)

    def _directory(self, path: str) -> _Fits:
        fits = self._directories.get(path)
        if fits is None:
            fits = self._directories[path] = self._fits(path)[1]
        return fits


def _patterns(lines: Iterable[tuple[Origin | None, str]]) -> Iterable[_Pattern]:
    for origin, line in lines:
        written = line.strip()
        if not written:
            continue
        exception = written.startswith("!")
        pattern = written[exception:].strip()
        if not pattern:
            raise ConfigError("a `!` without a pattern", origin=origin)
        pattern = posixpath.normpath(pattern).lstrip("/") or "/"
        try:
            compile_pattern(pattern)
            yield _Pattern(_matcher(pattern), exception)
        except (ValueError, re.error) as error:
            raise ConfigError(f"`{written}` is not a pattern: {error}", origin=origin) from error


_ONE_NAME, _ANYTHING, _DIRECTORIES = "[^/]*", ".*", "(.*/)?"
_STARS = (_ONE_NAME, _ANYTHING, _DIRECTORIES)
_MOST_STARS = 2
"""A regular expression takes as many steps as a path is long, to the power of its stars."""


def _matcher(pattern: str) -> Callable[[str], object]:
    """What tells whether a path fits *pattern*."""
    pieces = _pieces(pattern)
    if sum(piece in _STARS for piece in pieces) > _MOST_STARS:
        return _ManyStars(pieces)
    return re.compile("".join(pieces), re.DOTALL).fullmatch


def _pieces(pattern: str) -> list[str]:
    """As patternmatcher's `compile`, a regular expression in pieces: stars, and what one character has to fit.

    Before plain characters `**` takes any text, not only whole directories.
    """
    if pattern.startswith("**") and not re.search(r"[*?\\\[\]]", pattern[2:]):
        first = _DIRECTORIES if pattern.startswith("**/") else _ANYTHING
        return [first, *map(re.escape, pattern[2:].removeprefix("/"))]
    made: list[str] = []
    at = 0
    while at < len(pattern):
        char = pattern[at]
        at += 1
        if char == "*" and pattern[at : at + 1] == "*":
            at += 2 if pattern[at + 1 : at + 2] == "/" else 1
            made.append(_ANYTHING if at == len(pattern) else _DIRECTORIES)
        elif char == "[":
            piece, at = _brackets(pattern, at)
            made.append(piece)
        elif char == "\\":
            made.append(re.escape(pattern[at]))
            at += 1
        else:
            made.append({"*": _ONE_NAME, "?": "[^/]"}.get(char) or re.escape(char))
    return made


class _ManyStars:
    """Follows all ways through the pieces of a pattern side by side, character by character, so that no path takes long.

    A set of places is a number: bit N is the place before piece N. One that is inside of a `(.*/)?` is that piece's bit.
    """

    def __init__(self, pieces: Sequence[str]) -> None:
        bits: dict[str, int] = {}
        for number, piece in enumerate(pieces):
            bits[piece] = bits.get(piece, 0) | 1 << number
        self._end = 1 << len(pieces)
        self._names, self._anything, self._directories = (bits.pop(star, 0) for star in _STARS)
        self._stars = self._names | self._anything | self._directories
        self._singles = {re.compile(piece, re.DOTALL): which for piece, which in bits.items()}
        self._fitting: dict[str, int] = {}

    def __call__(self, path: str) -> bool:
        places, inside = self._passed(1), 0
        for char in path:
            inside = (places | inside) & self._directories
            stays = self._anything if char == "/" else self._anything | self._names
            moves = places & self._fitting_pieces(char) | (inside if char == "/" else 0)
            places = self._passed(places & stays | moves << 1)
        return bool(places & self._end)

    def _fitting_pieces(self, char: str) -> int:
        if char not in self._fitting:
            self._fitting[char] = sum(which for single, which in self._singles.items() if single.fullmatch(char))
        return self._fitting[char]

    def _passed(self, places: int) -> int:
        """*places*, and those behind stars that take nothing: the sum's carry runs through stars that stand side by side."""
        return places | (((places & self._stars) + self._stars) ^ self._stars)


def _brackets(pattern: str, at: int) -> tuple[str, int]:
    """The class whose `[` stands before *at*, and where it ends; `compile_pattern` said that it is one. It may fit a slash."""
    made = ["["]
    if pattern[at] == "^":
        made.append("^")
        at += 1
    while pattern[at] != "]":
        at += pattern[at] == "\\"
        made.append("-" if pattern[at] == "-" and pattern[at - 1] != "\\" else re.escape(pattern[at]))
        at += 1
    return "".join([*made, "]"]), at + 1
