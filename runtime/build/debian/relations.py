"""Relations between packages (deb-control(5), "Depends"): `a (>= 1) | b, c:any` as data. Choosing is `resolver.py`.

Packages files of an archive hold no architecture or profile restrictions (`[amd64]`, `<!nocheck>`); those are for sources.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

from runtime.build.debian.version import version_fits
from runtime.errors import BadContent

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
