"""What the Python of a base has installed: asked of the image together with its Python, recorded, and counted on by locks.

The answer comes from inside an image, so nothing of it is believed that doesn't parse (`check_packages`). What the resolver
does with it is `stub_wheels.py`. On the way of every launch: light imports only.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from runtime.light_dataclasses import dataclass
from runtime.oci.digest import Digest, digest_json

HEAVY_BYTES = 100_000_000
"""What is larger is kept as it is, if the requirements can be met with it. 100 MB is what a file on the public index may have
without asking."""


@dataclass(frozen=True, slots=True)
class BasePackage:
    """One installed distribution."""

    name: str
    """As PEP 503 normalises it."""
    version: str
    """As PEP 440 normalises it: `2.5.1+cu124`."""
    requires: tuple[str, ...] = ()
    extras: tuple[str, ...] = ()
    size_bytes: int = 0
    """Of its files; 0 where the image doesn't tell."""

    @property
    def stays(self) -> bool:
        """Whether it is worth older versions of what is new: it is large, or nobody else has this build of it."""
        return self.size_bytes >= HEAVY_BYTES or "+" in self.version


def packages_digest(packages: Sequence[BasePackage]) -> Digest:
    """Digest of what a resolution depends on."""
    return digest_json([[each.name, each.version, each.requires, each.extras, each.stays] for each in packages])


def to_rows(packages: Sequence[BasePackage]) -> list[list[Any]]:
    """*packages* as JSON data."""
    return [[each.name, each.version, each.requires, each.extras, each.size_bytes] for each in packages]


def from_rows(rows: Sequence[Sequence[Any]]) -> tuple[BasePackage, ...]:
    """What `to_rows` gave."""
    return tuple(BasePackage(name, version, tuple(needs), tuple(extras), size) for name, version, needs, extras, size in rows)


def check_packages(answer: Sequence[Mapping[str, Any]]) -> tuple[BasePackage, ...]:
    """The packages of an image's answer, the first of each name: what stands first on its path is what is imported. Distributions
    without a proper name or version are left out, and so are requirements that nobody can read."""
    found: dict[str, BasePackage] = {}
    for row in answer:
        package = _check(row)
        if package is not None:
            found.setdefault(package.name, package)
    return tuple(found[name] for name in sorted(found))


_NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?")


def _check(row: Mapping[str, Any]) -> BasePackage | None:
    from packaging.utils import canonicalize_name
    from packaging.version import InvalidVersion, Version

    name, size = row.get("name"), row.get("size")
    if not isinstance(name, str) or _NAME.fullmatch(name) is None:
        return None
    try:
        version = str(Version(str(row.get("version"))))
    except InvalidVersion:
        return None
    extras = tuple(each for each in _words(row.get("extras")) if _NAME.fullmatch(each))
    requires = tuple(each for each in _words(row.get("requires")) if _is_requirement(each))
    return BasePackage(canonicalize_name(name), version, requires, extras, size if isinstance(size, int) else 0)


def _words(value: object) -> list[str]:
    return [each for each in value if isinstance(each, str)] if isinstance(value, list) else []


def _is_requirement(line: str) -> bool:
    from packaging.requirements import InvalidRequirement, Requirement

    try:
        Requirement(line)
    except InvalidRequirement:
        return False
    return "\n" not in line and "\r" not in line
