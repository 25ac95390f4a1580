"""Expand the variables of a word and remove its quotes, as BuildKit's `shell.Lex` does.

    $NAME ${NAME}                                          its value; nothing when it is unset
    ${NAME:-word} ${NAME-word}                             word when it is unset (`:` here and below: or empty)
    ${NAME:+word} ${NAME+word}                             word when it is set
    ${NAME:?text} ${NAME?text}                             an error when it is unset
    ${NAME#p} ${NAME##p} ${NAME%p} ${NAME%%p}              without the shortest or longest beginning or end that fits
    ${NAME/p/text} ${NAME//p/text}                         with the first or every part that fits replaced

In p, `*` and `?` are wildcards, a backslash before either takes that away, and there are no brackets (BuildKit's
`convertShellPatternToRegex`). A backslash before `}` or `/` only keeps them from ending the word.

Single quotes keep everything, double quotes everything but `$`, and the escape character the character that follows it.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Mapping

from launcher.errors import ConfigError, Origin
from runtime.build.copy.go_match import join_at_stars
from runtime.light_dataclasses import dataclass, field

_SPECIAL = frozenset("@*#?-$!0")


class ExpansionError(ValueError):
    """A word that cannot be expanded, without saying where it stands."""


def expand(word: str, env: Mapping[str, str], *, escape: str = "\\", origin: Origin | None = None) -> str:
    """*word* with its variables filled in and its quotes gone: always one word, spaces kept."""
    with_words = _Lexer(word, env, escape=escape)
    return _lex(with_words, origin)[0]


def expand_words(word: str, env: Mapping[str, str], *, escape: str = "\\", origin: Origin | None = None) -> list[str]:
    """The same, split at white space that no quotes hold, after the values are filled in."""
    return _lex(_Lexer(word, env, escape=escape), origin)[1]


def expand_text(text: str, env: Mapping[str, str], *, origin: Origin | None = None) -> str:
    """*text* of a heredoc that becomes a file: variables filled in, quotes being characters like any other."""
    return _lex(_Lexer(text, env, escape="\\", quotes=False), origin)[0]


def unset_names(word: str, env: Mapping[str, str], *, escape: str = "\\", origin: Origin | None = None) -> set[str]:
    """Variables that *word* asks for and *env* does not have."""
    lexer = _Lexer(word, env, escape=escape)
    _lex(lexer, origin)
    return lexer.unset


def split_keeping(line: str) -> list[str]:
    """The words of *line* with quotes, escapes and unset variables as they are: how heredocs are looked for."""
    try:
        return _Lexer(line, {}, escape="\\", raw_quotes=True, raw_escapes=True, keep_unset=True).run()[1]
    except ExpansionError:
        return []


def quoted_and_plain(word: str) -> tuple[list[str], list[str]]:
    """The words of *word* without and with their quotes, unset variables kept. Raises ExpansionError."""
    plain = _Lexer(word, {}, escape="\\", keep_unset=True).run()[1]
    return plain, _Lexer(word, {}, escape="\\", keep_unset=True, raw_quotes=True).run()[1]


def is_space(char: str) -> bool:
    """White space as Go's `unicode.IsSpace` has it (Python counts the separators U+001C to U+001F too)."""
    return char in "\t\n\v\f\r \x85" or unicodedata.category(char)[0] == "Z"


def _lex(lexer: _Lexer, origin: Origin | None) -> tuple[str, list[str]]:
    try:
        return lexer.run()
    except ExpansionError as error:
        raise ConfigError(f"`{lexer.source}` cannot be expanded: {error}", origin=origin) from error


@dataclass(slots=True)
class _Words:
    """Words as they are collected: white space ends one, unless it came out of quotes."""

    done: list[str] = field(default_factory=list)
    current: list[str] = field(default_factory=list)

    def add(self, text: str) -> None:
        for char in text:
            if not is_space(char):
                self.current.append(char)
            elif self.current:
                self.end()

    def add_raw(self, text: str) -> None:
        if text:
            self.current.append(text)

    def end(self) -> list[str]:
        if self.current:
            self.done.append("".join(self.current))
            self.current.clear()
        return self.done


class _Lexer:
    def __init__(
        self,
        source: str,
        env: Mapping[str, str],
        *,
        escape: str,
        raw_quotes: bool = False,
        raw_escapes: bool = False,
        keep_unset: bool = False,
        quotes: bool = True,
    ) -> None:
        self.source = source
        self.unset: set[str] = set()
        self._env = env
        self._at = 0
        self._escape = escape
        self._raw_quotes = raw_quotes
        self._raw_escapes = raw_escapes
        self._keep_unset = keep_unset
        self._special: dict[str, Callable[[], str]] = {
            "$": self._dollar,
            "<": self._possible_heredoc,
        }
        if quotes:
            self._special |= {"'": self._single_quoted, '"': self._double_quoted}

    def run(self) -> tuple[str, list[str]]:
        return self._until("", self._raw_escapes)

    def _peek(self) -> str:
        return self.source[self._at : self._at + 1]

    def _next(self) -> str:
        char = self.source[self._at : self._at + 1]
        self._at += len(char)
        return char

    def _until(self, stop: str, raw_escapes: bool) -> tuple[str, list[str]]:
        """Everything up to *stop* (the empty string: to the end) as one text and as words."""
        outer, self._raw_escapes = self._raw_escapes, raw_escapes
        result: list[str] = []
        words = _Words()
        while char := self._peek():
            if char == stop:
                self._next()
                self._raw_escapes = outer
                return "".join(result), words.end()
            if char in self._special:
                text = self._special[char]()
                (words.add if char == "$" else words.add_raw)(text)
                result.append(text)
                continue
            self._next()
            if char != self._escape:
                words.add(char)
                result.append(char)
                continue
            if raw_escapes:
                words.add_raw(char)
                result.append(char)
            escaped = self._next()
            words.add_raw(escaped)
            result.append(escaped)
        self._raw_escapes = outer
        if stop:
            raise ExpansionError(f"`{stop}` is missing")
        return "".join(result), words.end()

    def _single_quoted(self) -> str:
        start = self._at
        end = self.source.find("'", start + 1)
        if end < 0:
            raise ExpansionError("a single quote is not closed")
        self._at = end + 1
        return self.source[start : end + 1] if self._raw_quotes else self.source[start + 1 : end]

    def _double_quoted(self) -> str:
        result = [self._next()] if self._raw_quotes else [self._next()][1:]
        while char := self._peek():
            if char == "$":
                result.append(self._dollar())
                continue
            self._next()
            if char == '"':
                return "".join([*result, char] if self._raw_quotes else result)
            if char == self._escape:
                if self._raw_escapes:
                    result.append(char)
                following = self._peek()
                if not following:
                    break
                if following in ('"', "$", self._escape):
                    char = self._next()
            result.append(char)
        raise ExpansionError("a double quote is not closed")

    def _possible_heredoc(self) -> str:
        """`<`, or `<<` with the white space up to the name, so that both stay one word."""
        self._next()
        if self._peek() != "<":
            return "<"
        self._next()
        start = self._at
        while self._peek() and self._peek() in "\t\r ":
            self._next()
        return "<<" + self.source[start : self._at]

    def _name(self) -> str:
        """A name, a number, or one of the shell's special parameters."""
        first = self._peek()
        if first.isdecimal():
            start = self._at
            while self._peek().isdecimal():
                self._next()
            return self.source[start : self._at]
        if first and first in _SPECIAL:
            return self._next()
        start = self._at
        while self._peek().isalpha() or self._peek().isdecimal() or self._peek() == "_":
            self._next()
        return self.source[start : self._at]

    def _value(self, name: str) -> str | None:
        value = self._env.get(name)
        if value is None:
            self.unset.add(name)
        return value

    def _dollar(self) -> str:
        self._next()
        if self._peek() != "{":
            name = self._name()
            if not name:
                return "$"
            value = self._value(name)
            return value if value is not None else f"${name}" if self._keep_unset else ""
        self._next()
        if not self._peek():
            raise ExpansionError("`}` is missing")
        if self._peek() in "{}:":
            raise ExpansionError("`${` needs a name after it")
        name = self._name()
        modifier = self._next()
        if not modifier:
            raise ExpansionError("`}` is missing")
        if modifier == "}":
            value = self._value(name)
            return value if value is not None else f"${{{name}}}" if self._keep_unset else ""
        if modifier == "/":
            return self._replace(name)
        return self._apply_modifier(name, modifier)

    def _apply_modifier(self, name: str, modifier: str) -> str:
        empty_counts = modifier == ":"
        kind = self._next() if empty_counts else modifier
        if not kind or kind not in ("-+?" if empty_counts else "-+?#%"):
            raise ExpansionError(f"there is no modifier `{':' if empty_counts else ''}{kind}`")
        word = self._until("}", kind in "#%")[0]
        # `-`, `+` and `?` say what is meant when there is no value: that it lacks one is no oversight.
        value = self._env.get(name) if kind in "-+?" else self._value(name)
        if value is None and self._keep_unset:
            return f"${{{name}{':' if empty_counts else ''}{kind}{word}}}"
        missing = value is None or (empty_counts and not value)
        if kind == "-":
            return word if missing else value or ""
        if kind == "+":
            return "" if missing else word
        if kind == "?":
            if missing:
                why = "is not allowed to be unset" if value is None else "is not allowed to be empty"
                raise ExpansionError(f"{name}: {word or why}")
            return value or ""
        greedy = word[:1] == kind
        trimmed = _without_end if kind == "%" else _without_beginning
        return _apply_pattern(trimmed, word[greedy:], value or "", greedy)

    def _replace(self, name: str) -> str:
        every = self._peek() == "/"
        if every:
            self._next()
        pattern = self._until("/", True)[0]
        text = self._until("}", True)[0]
        value = self._value(name)
        if value is None and self._keep_unset:
            return f"${{{name}/{pattern}/{text}}}"
        return _apply_pattern(lambda p, v, e: _replace_in(p, v, text, every=e), pattern, value or "", every)


def _apply_pattern(apply: Callable[[str, str, bool], str], pattern: str, value: str, flag: bool) -> str:
    try:
        return apply(pattern, value, flag)
    except ValueError as error:
        raise ExpansionError(f"`{pattern}` is not a pattern: {error}") from error


def _without_beginning(pattern: str, value: str, longest: bool) -> str:
    """*value* without the beginning that fits."""
    found = _compile(pattern, greedy=longest).match(value)
    return value[found.end() :] if found else value


def _without_end(pattern: str, value: str, longest: bool) -> str:
    """*value* without the end that fits: the search backwards, since a regular expression takes the leftmost that fits."""
    return _without_beginning(_reverse_pattern(pattern), value[::-1], longest)[::-1]


def _replace_in(pattern: str, value: str, text: str, *, every: bool) -> str:
    """*value* with the first part that fits, or every one, replaced."""
    result: list[str] = []
    at = 0
    last_end = -1
    for found in _compile(pattern, greedy=True).finditer(value):
        if found.start() == found.end() == last_end:
            continue  # Go's ReplaceAll: nothing that is empty right behind what was replaced
        result += [value[at : found.start()], text]
        at = last_end = found.end()
        if not every:
            break
    return "".join([*result, value[at:]])


def _compile(pattern: str, *, greedy: bool) -> re.Pattern[str]:
    parts = [""]
    chars = iter(enumerate(pattern))
    for index, char in chars:
        if char == "*":
            parts.append("")
        elif char == "?":
            parts[-1] += "."
        elif char != "\\":
            parts[-1] += re.escape(char)
        elif pattern[index + 1 : index + 2] not in ("}", "/"):
            _, escaped = next(chars, (0, ""))
            if not escaped or escaped not in "*?\\":
                raise ValueError(f"`\\{escaped}` is not an escape (`\\*`, `\\?` and `\\\\` are)")
            parts[-1] += re.escape(escaped)
    return re.compile(join_at_stars(parts, ".*", last=".*" if greedy else ".*?"))


def _reverse_pattern(pattern: str) -> str:
    """*pattern* backwards, each backslash still before what it escapes."""
    pieces = re.findall(r"\\.|.", pattern, flags=re.DOTALL)
    return "".join(reversed(pieces))
