"""Poetry's words for versions, as PEP 440 has them: `^1.2`, `~1.2`, `1.*`, `>=1,<2 || >=3`.

Source: python-poetry.org, "Dependency specification".
"""

from __future__ import annotations

import re

from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.version import InvalidVersion, Version

from launcher.errors import ConfigError

_PART = re.compile(r"\s*(\^|~=|~|===?|!=|<=|>=|<|>|=)?\s*([^\s,]+)\s*,?")


def specifiers(constraint: str) -> tuple[SpecifierSet, ...]:
    """What *constraint* allows, a set for each of its alternatives. Raises ConfigError for what is no constraint."""
    try:
        return tuple(_alternative(part) for part in re.split(r"\s*\|\|?\s*", constraint.strip()))
    except (InvalidSpecifier, InvalidVersion) as error:
        raise ConfigError(f"`{constraint}` is no version constraint of Poetry's: {error}") from error


def _alternative(text: str) -> SpecifierSet:
    return SpecifierSet(",".join(filter(None, (_simple(found[1] or "", found[2]) for found in _PART.finditer(text)))))


def _simple(operator: str, version: str) -> str:
    if version == "*":
        return ""
    if operator == "^":
        return f">={version},<{_next(version, _first_that_counts(version))}"
    if operator == "~":
        return f">={version},<{_next(version, min(1, len(Version(version).release) - 1))}"
    if operator in ("", "="):
        return f"=={version}"
    return f"{operator}{version}"


def _first_that_counts(version: str) -> int:
    """`^1.2.3` may change all but the 1, `^0.2.3` all but the 2; of `^0.0` the last that is written counts."""
    release = Version(version).release
    return next((place for place, number in enumerate(release) if number), len(release) - 1)


def _next(version: str, place: int) -> str:
    release = Version(version).release
    return ".".join(map(str, (*release[:place], release[place] + 1)))
