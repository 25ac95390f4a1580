"""Filters over runs, in the grammar of MLflow's search: `metrics.acc > 0.9 and params.lr < 0.1`.

    EXPRESSION   COMPARISON, `not` E, E `and` E, E `or` E, (E)
    COMPARISON   FIELD OP VALUE, FIELD [not] in (VALUE, …), FIELD [not] like 'a%', FIELD [not] ilike 'A%', FIELD is [not] null
    OP           =  ==  !=  <  <=  >  >=

A field of `run_fields.py`; a name with odd characters stands in backticks: metrics.`val acc`. Numbers compare as numbers, the
rest as text. A run that lacks the field fulfils no comparison but `is null`.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import NoReturn

from launcher.errors import ConfigError
from launcher.tracking.record.run_fields import DURATIONS, MOMENTS, Value, value
from launcher.tracking.record.run_record import RunRecord
from runtime.light_dataclasses import dataclass, field

Predicate = Callable[[RunRecord], bool]

_ORDERS: dict[str, Callable[[str | float, str | float], bool]] = {
    "=": operator.eq,
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
_TOKEN = re.compile(r"""\s*(?:(?P<sign><=|>=|!=|==|[=<>(),])|(?P<text>'[^']*'|"[^"]*")|(?P<word>(?:`[^`]*`|[^\s()<>=!,'"`])+))""")
_WORDS = ("and", "or", "not", "in", "like", "ilike", "is", "null")
_UNITS_S = {"s": 1, "m": 60, "h": 3600, "d": 86400}


@dataclass(frozen=True, slots=True)
class RunFilter:
    """A filter, and the fields that it reads."""

    fields: tuple[str, ...]
    admits: Predicate


def run_filter(text: str) -> RunFilter:
    """The filter that *text* describes. Raises ConfigError, with the place, where it is no expression."""
    parser = _Parser(text, _tokens(text))
    admits = parser.either()
    if not parser.at_end:
        parser.refuse("`and` or `or`")
    return RunFilter(tuple(dict.fromkeys(parser.fields)), admits)


@dataclass(frozen=True, slots=True)
class _Token:
    kind: str
    """`sign`, `text` (quoted), `word`, `end`."""
    text: str
    at: int


def _tokens(text: str) -> list[_Token]:
    found: list[_Token] = []
    position = 0
    while position < len(text.rstrip()):
        match = _TOKEN.match(text, position)
        if match is None:
            raise _refusal(text, len(text) - len(text[position:].lstrip()), "a quote that is closed")
        kind = str(match.lastgroup)
        found.append(_Token(kind, match[kind], match.start(kind)))
        position = match.end()
    return [*found, _Token("end", "", len(text.rstrip()))]


@dataclass(slots=True)
class _Parser:
    """Recursive descent: `or` binds weakest, then `and`, then `not`."""

    source: str
    tokens: Sequence[_Token]
    position: int = 0
    fields: list[str] = field(default_factory=list)

    @property
    def now(self) -> _Token:
        return self.tokens[self.position]

    @property
    def at_end(self) -> bool:
        return self.now.kind == "end"

    def either(self) -> Predicate:
        parts = [self.both()]
        while self.takes("or"):
            parts.append(self.both())
        return parts[0] if len(parts) == 1 else lambda record: any(part(record) for part in parts)

    def both(self) -> Predicate:
        parts = [self.negated()]
        while self.takes("and"):
            parts.append(self.negated())
        return parts[0] if len(parts) == 1 else lambda record: all(part(record) for part in parts)

    def negated(self) -> Predicate:
        if self.takes("not"):
            inner = self.negated()
            return lambda record: not inner(record)
        if self.takes("("):
            inner = self.either()
            self.wants(")")
            return inner
        return self.comparison()

    def comparison(self) -> Predicate:
        name = self.field_name()
        if self.takes("is"):
            wanted_null = not self.takes("not")
            self.wants("null")
            return lambda record: (value(record, name) is None) is wanted_null
        negative = self.takes("not")
        test = self.membership(name) if self.takes("in") else self.pattern() or self.order(name, allowed=not negative)
        return lambda record: (found := value(record, name)) is not None and test(found) is not negative

    def membership(self, name: str) -> Callable[[Value], bool]:
        self.wants("(")
        tests = [_order(operator.eq, self.literal(name))]
        while self.takes(","):
            tests.append(_order(operator.eq, self.literal(name)))
        self.wants(")")
        return lambda found: any(test(found) for test in tests)

    def pattern(self) -> Callable[[Value], bool] | None:
        """SQL's LIKE: `%` is any text, `_` one character."""
        flags = re.DOTALL if self.takes("like") else re.DOTALL | re.IGNORECASE if self.takes("ilike") else None
        if flags is None:
            return None
        letters = (".*" if letter == "%" else "." if letter == "_" else re.escape(letter) for letter in self.value_text())
        whole = re.compile("".join(letters), flags)
        return lambda found: whole.fullmatch(str(found)) is not None

    def order(self, name: str, *, allowed: bool) -> Callable[[Value], bool]:
        if not allowed or self.now.text not in _ORDERS or self.now.kind != "sign":
            self.refuse("`in` or `like`" if not allowed else "a comparison (= != < <= > >= in like is)")
        compare = _ORDERS[self.now.text]
        self.position += 1
        return _order(compare, self.literal(name))

    def field_name(self) -> str:
        if self.now.kind != "word" or self.now.text.lower() in _WORDS:
            self.refuse("a field: metrics.NAME, params.NAME, status, …")
        name = self.now.text.replace("`", "")
        self.position += 1
        self.fields.append(name)
        return name

    def literal(self, name: str) -> str | float:
        at, text = self.now, self.value_text()
        if name == "status":
            return text.upper()
        if at.kind == "text" and name not in MOMENTS + DURATIONS:
            return text
        if name in MOMENTS and (moment := _moment(text)) is not None:
            return moment
        if name in DURATIONS and (match := re.fullmatch(r"(\d+(?:\.\d+)?)([smhd])", text)):
            return float(match[1]) * _UNITS_S[match[2]]
        number = _number(text)
        return text if number is None else number

    def value_text(self) -> str:
        token = self.now
        if token.kind not in ("text", "word"):
            self.refuse("a value")
        self.position += 1
        return token.text[1:-1] if token.kind == "text" else token.text

    def takes(self, word: str) -> bool:
        if self.now.kind == "text" or self.now.text.lower() != word:
            return False
        self.position += 1
        return True

    def wants(self, word: str) -> None:
        if not self.takes(word):
            self.refuse(f"`{word}`")

    def refuse(self, wanted: str) -> NoReturn:
        raise _refusal(self.source, self.now.at, wanted)


def _order(compare: Callable[[str | float, str | float], bool], wanted: str | float) -> Callable[[Value], bool]:
    """Compare as numbers where both are numbers, else as text; true and false are words."""

    def test(found: Value) -> bool:
        if isinstance(found, bool):
            return compare(str(found).lower(), str(wanted).lower())
        number = _number(str(found)) if isinstance(wanted, float) else None
        return compare(str(found), str(wanted)) if number is None else compare(number, wanted)

    return test


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def _moment(text: str) -> float | None:
    try:
        return datetime.fromisoformat(text).timestamp()
    except ValueError:
        return None


def _refusal(text: str, at: int, wanted: str) -> ConfigError:
    found = f"`{text[at:].split()[0]}` is" if text[at:].split() else "it ends"
    example = "--where 'metrics.acc > 0.9 and params.lr < 0.1'"
    error = ConfigError(f"--where: {found} at column {at + 1}, where {wanted} should be", hint=example)
    error.add_note(text)
    error.add_note(" " * at + "^")
    return error
