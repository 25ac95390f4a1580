"""Order of Debian versions (deb-version(7)): `[epoch:]upstream[-revision]`, and the operators of relations."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable
from functools import lru_cache

VersionKey = tuple[object, ...]

_PARTS = re.compile(r"(\D*)(\d*)")


def _weight(character: str) -> int:
    """`~` sorts before the end of a part (0), letters after it, everything else after letters."""
    if character == "~":
        return -1
    return ord(character) if character.isalpha() else ord(character) + 256


def _part_key(text: str) -> tuple[object, ...]:
    return tuple(
        ((*map(_weight, other), 0), int(digits) if digits else 0)  # "" at the end gives ((0,), 0): the end itself
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
    return (int(epoch) if epoch.isdigit() else 0, _part_key(upstream), _part_key(revision))


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
    """Whether *version* is, say, `>=` *wanted*. *relation* is one that `relations.py` has parsed."""
    return _OPERATORS[relation](version_key(version), version_key(wanted))
