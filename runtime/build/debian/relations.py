"""Relations between packages as data: `a (>= 1) | b, c:any` (deb-control(5), "Depends"). Choosing is `resolver.py`.

Versions are ordered as dpkg orders them (deb-version(7)): `[epoch:]upstream[-revision]`. Packages files of an archive hold no
architecture or profile restrictions (`[amd64]`, `<!nocheck>`); those are for sources.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable
from functools import lru_cache

from runtime.errors import BadContent
from runtime.light_dataclasses import dataclass

_RELATION = re.compile(
    r"(?P<name>[a-z0-9][a-z0-9+.-]*)(?::(?P<qualifier>[a-z0-9-]+))?\s*(?:\(\s*(?P<operator><<|<=|=|>=|>>|<|>)\s*(?P<version>[^\s)]+)\s*\))?"
)


@dataclass(frozen=True, slots=True)
class Relation:
    """One alternative: a name and, where given, a condition on its version."""

    name: str
    operator: str = ""
    version: str = ""
    qualifier: str = ""
    """`any`, `native` or an architecture."""

    def allows(self, version: str) -> bool:
        return not self.operator or version_fits(version, self.operator, self.version)

    def __str__(self) -> str:
        name = f"{self.name}:{self.qualifier}" if self.qualifier else self.name
        return f"{name} ({self.operator} {self.version})" if self.operator else name


Group = tuple[Relation, ...]
"""Alternatives, of which one is enough; the first is preferred."""


@lru_cache(maxsize=4096)
def parse_relations(text: str) -> tuple[Group, ...]:
    """`a (>= 1) | b, c` → ((a, b), (c,))."""
    groups = []
    for group in text.split(","):
        if not group.strip():
            continue
        alternatives = []
        for alternative in group.split("|"):
            found = _RELATION.fullmatch(alternative.strip())
            if found is None:
                raise BadContent(f"not a relation between packages: `{alternative.strip()[:80]}`")
            alternatives.append(
                Relation(found["name"], found["operator"] or "", found["version"] or "", found["qualifier"] or "")
            )
        groups.append(tuple(alternatives))
    return tuple(groups)


def show_group(group: Group) -> str:
    return " | ".join(map(str, group))


VersionKey = tuple[object, ...]

_PARTS = re.compile(r"([^0-9]*)([0-9]*)")
_MOST_DIGITS = 4000
"""Python makes no number of more; no version has them."""


def _weight(character: str) -> int:
    """`~` sorts before the end of a part (0), letters after it, everything else after letters."""
    if character == "~":
        return -1
    return ord(character) if character.isalpha() else ord(character) + 256


def _part_key(text: str) -> tuple[object, ...]:
    return tuple(
        ((*map(_weight, other), 0), int(digits[:_MOST_DIGITS]) if digits else 0)  # "" at the end gives ((0,), 0): the end itself
        for other, digits in _PARTS.findall(text)
    )


@lru_cache(maxsize=8192)
def version_key(version: str) -> VersionKey:
    """A key that sorts as dpkg does. An absent revision equals `0`."""
    epoch, colon, rest = version.partition(":")
    if not colon:
        epoch, rest = "0", version
    upstream, dash, revision = rest.rpartition("-")
    if not dash:
        upstream, revision = rest, "0"
    return (int(epoch[:_MOST_DIGITS]) if epoch.isascii() and epoch.isdigit() else 0, _part_key(upstream), _part_key(revision))


_OPERATORS: dict[str, Callable[[VersionKey, VersionKey], bool]] = {
    "<<": operator.lt,
    "<=": operator.le,
    "=": operator.eq,
    ">=": operator.ge,
    ">>": operator.gt,
    "<": operator.le,  # the old spellings mean `<=` and `>=` (deb-control(5))
    ">": operator.ge,
}


def version_fits(version: str, relation: str, wanted: str) -> bool:
    """Whether *version* is, say, `>=` *wanted*."""
    return _OPERATORS[relation](version_key(version), version_key(wanted))
