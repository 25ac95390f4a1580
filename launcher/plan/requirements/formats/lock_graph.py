"""Which packages of a lock file one Python and platform need: walk from what the project asks for, along markers and extras.

Poetry and PDM lock a project for every machine at once: one name may have several versions, an edge a marker, and what only an
extra needs lies beside the rest. `poetry_lock.py` and `pdm_lock.py` read the files into the values of this one.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from packaging.markers import Marker
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import (
    InvalidSdistFilename,
    InvalidWheelFilename,
    canonicalize_name,
    parse_sdist_filename,
    parse_wheel_filename,
)
from packaging.version import InvalidVersion, Version

from launcher.errors import ConfigError
from launcher.plan.origins import shown_path
from launcher.plan.requirements.target import Target, marker_environment

Allowed = tuple[SpecifierSet, ...]
"""Versions that one of these allows; empty: every version."""


class Need(NamedTuple):
    """That a package is needed."""

    name: str
    """As PEP 503 normalises it."""
    allowed: Allowed = ()
    extras: frozenset[str] = frozenset()
    marker: Marker | None = None


def need_of(required: Requirement) -> Need:
    allowed = (required.specifier,) if len(required.specifier) else ()
    return Need(canonicalize_name(required.name), allowed, normalized(required.extras), required.marker)


class LockedPackage(NamedTuple):
    """One version of a package, as a lock file has it."""

    name: str
    version: str
    needs: tuple[Need, ...]
    entry: dict[str, Any]
    """What PEP 751 has of it in `packages`."""
    pythons: SpecifierSet = SpecifierSet()
    marker: Marker | None = None
    """Where it is wanted at all."""
    of_extras: frozenset[str] = frozenset()
    """PDM writes what extras need as an entry of their own."""


class LockGraph:
    """The packages of the lock file *path*, for *target*."""

    def __init__(self, path: Path, packages: Sequence[LockedPackage], target: Target, *, again: str) -> None:
        """*again*: the command that makes the lock file again."""
        self._path = path
        self._again = again
        self._environment = marker_environment(target)
        self._by_name: dict[str, list[LockedPackage]] = {}
        for package in packages:
            if self._fits(package):
                self._by_name.setdefault(package.name, []).append(package)

    def document(self, roots: Iterable[Need], *, without: Collection[str] = ()) -> dict[str, Any]:
        """A pylock.toml of what *roots* and all that they need come to. Not *without*, nor what only those need."""
        found: dict[str, LockedPackage] = {}
        waiting = [(root, frozenset[str]()) for root in roots]
        seen = set()
        while waiting:
            need, extras = waiting.pop()
            if need.name in without or not applies(need.marker, self._environment, extras):
                continue
            package = self._choose(need)
            found[package.name] = package
            if (package.name, need.extras) in seen:
                continue
            seen.add((package.name, need.extras))
            of_extras = [other for other in self._by_name[need.name] if other.of_extras & need.extras]
            waiting += [(next_need, need.extras) for each in (package, *of_extras) for next_need in each.needs]
        return {"lock-version": "1.0", "created-by": "launch", "packages": [found[name].entry for name in sorted(found)]}

    def _fits(self, package: LockedPackage) -> bool:
        python = self._environment["python_full_version"]
        return package.pythons.contains(python, prereleases=True) and applies(package.marker, self._environment, None)

    def _choose(self, need: Need) -> LockedPackage:
        locked = [package for package in self._by_name.get(need.name, ()) if not package.of_extras]
        allowed = [package for package in locked if _is_allowed(package.version, need.allowed)]
        # What the lock has is what counts, even where we read a constraint otherwise than its author.
        if chosen := allowed or (locked if len(locked) == 1 else []):
            return max(chosen, key=lambda package: Version(package.version))
        python = self._environment["python_version"]
        raise ConfigError(
            f"`{shown_path(self._path)}` has no `{need.name}` for Python {python}, and the project needs it",
            hint=f"`{self._again}` makes it again",
        )


def applies(marker: Marker | None, environment: Mapping[str, str], extras: frozenset[str] | None) -> bool:
    """Whether *marker* holds with one of *extras*, or without any; None: with any extra that it may name."""
    if marker is None:
        return True
    if extras is None:
        extras = frozenset(re.findall(r"""extra\s*==\s*["']([^"']+)""", str(marker)))
    return any(marker.evaluate({**environment, "extra": extra}) for extra in ("", *extras))


def _is_allowed(version: str, allowed: Allowed) -> bool:
    return not allowed or any(each.contains(version, prereleases=True) for each in allowed)


def file_entries(files: Sequence[Mapping[str, Any]], version: str) -> dict[str, Any]:
    """`wheels` and `sdist` (PEP 751) of a lock's *files* (`file` or `url`, and `hash`); those of other versions are left out."""
    wheels, sdist = [], None
    for file in files:
        name = str(file.get("file") or str(file["url"]).partition("#")[0].rpartition("/")[2])
        algorithm, _, digest = str(file.get("hash", "")).partition(":")
        entry: dict[str, Any] = {"name": name, "hashes": {algorithm: digest}}
        entry |= {"url": file["url"]} if "url" in file else {"path": name}
        if not _is_file_of(name, version):
            continue
        if name.endswith(".whl"):
            wheels.append(entry)
        elif name.endswith((".tar.gz", ".zip")):
            sdist = entry
    return {**({"wheels": wheels} if wheels else {}), **({"sdist": sdist} if sdist else {})}


def git_entry(url: str, commit: str, *, revision: str | None, subdirectory: str | None) -> dict[str, Any]:
    """`vcs` (PEP 751) of a package that is a git repository."""
    asked = {"requested-revision": revision} if revision else {}
    part = {"subdirectory": subdirectory} if subdirectory else {}
    return {"vcs": {"type": "git", "url": url, "commit-id": commit, **asked, **part}}


def archive_entry(files: Sequence[Mapping[str, Any]], **place: str) -> dict[str, Any]:
    """`archive` (PEP 751) of a package that is the one file of *files*, which *place* (`url` or `path`) says where to find."""
    algorithm, _, digest = str(files[0]["hash"]).partition(":")
    return {"archive": {**place, "hashes": {algorithm: digest}}}


def _is_file_of(name: str, version: str) -> bool:
    try:
        found = parse_wheel_filename(name)[1] if name.endswith(".whl") else parse_sdist_filename(name)[1]
        return found == Version(version)
    except (InvalidWheelFilename, InvalidSdistFilename):
        return not name.endswith(".whl")  # an old name of an sdist, which nothing else can be
    except InvalidVersion:
        return True


def normalized(names: Iterable[str]) -> frozenset[str]:
    """Names of extras or groups as PEP 685 compares them."""
    return frozenset(canonicalize_name(name) for name in names)
