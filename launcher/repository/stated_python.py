"""The Python of a repository, where the default one would not do: what it asks for, or what its pins have wheels for.

Nobody is asked for wheels: what is known is since which version the packages that most hold a Python back have wheels for one.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence

from packaging.version import InvalidVersion, Version

from launcher.errors import ConfigError
from launcher.plan.bases.debian_suites import DEBIAN_SUITES
from launcher.plan.requirements.formats.poetry_constraint import specifiers
from launcher.repository.source_tree import SourceTree

_SINCE = {
    "numpy": {13: "2.1.0", 12: "1.26.0", 11: "1.23.2", 10: "1.21.3", 9: "1.19.3", 8: "1.17.3"},
    "torch": {13: "2.5.0", 12: "2.2.0", 11: "1.13.0", 10: "1.11.0", 9: "1.7.1", 8: "1.4.0"},
    "tensorflow": {13: "2.20.0", 12: "2.16.1", 11: "2.12.0", 10: "2.8.0", 9: "2.5.0", 8: "2.2.0"},
    "scipy": {13: "1.14.1", 12: "1.11.2", 11: "1.9.2", 10: "1.7.2", 9: "1.5.4", 8: "1.4.0"},
    "pandas": {13: "2.2.3", 12: "2.1.1", 11: "1.5.1", 10: "1.3.3", 9: "1.1.3", 8: "0.25.3"},
    "scikit-learn": {13: "1.5.2", 12: "1.3.1", 11: "1.1.3", 10: "1.0.2", 9: "0.24.0", 8: "0.22.0"},
    "matplotlib": {13: "3.9.2", 12: "3.8.0", 11: "3.6.0", 10: "3.5.0", 9: "3.3.3", 8: "3.1.2"},
}
"""Package → minor version of Python → the first version with a wheel of it for x86-64 Linux (the files in PyPI)."""
_PINNED = re.compile(r"^\s*([A-Za-z0-9][\w.-]*)\s*(?:\[[^\]]*\])?\s*==\s*([\w.]+)")
_OLDEST = 8
_SUITES = [int(suite.minor.partition(".")[2]) for suite in DEBIAN_SUITES.values()]
_NEWEST_FIRST = [*_SUITES, *(minor for minor in range(14, _OLDEST - 1, -1) if minor not in _SUITES)]
"""Those that need no registry come first."""


def choose_python(
    tree: SourceTree, *, bounds: Mapping[str, str], requirements: Sequence[str]
) -> tuple[str, str] | tuple[None, str]:
    """The version and the reason for it; none where the default does. *bounds*: file → `>=3.8,<3.11`, as that says it."""
    for path, of_program in ((".python-version", r"\b(3\.\d+)"), ("runtime.txt", r"python-(3\.\d+)")):
        if found := re.search(of_program, tree.text(path)) if tree.has(path) else None:
            return found[1], path
    reasons: list[str] = []
    fitting = _NEWEST_FIRST
    for path, bound in bounds.items():
        fitting = _note(reasons, f"{path} allows `{bound}`", fitting, [each for each in fitting if _allows(bound, each)])
    for name, version in _pins(requirements):
        since = {minor: Version(first) for minor, first in _SINCE[name].items()}
        wheels = [each for each in fitting if each in since and since[each] <= version]
        fitting = _note(reasons, f"{name} {version} has no wheel for 3.{fitting[0]}", fitting, wheels)
    return (None, "") if fitting[0] == _SUITES[0] else (f"3.{fitting[0]}", "; ".join(reasons))


def _note(reasons: list[str], reason: str, before: list[int], after: list[int]) -> list[int]:
    """*after*, unless nothing would be left; *reason* is kept where it changes the choice."""
    if not after:
        return before
    if after[0] != before[0]:
        reasons.append(reason)
    return after


def _allows(bound: str, minor: int) -> bool:
    """Poetry's `^3.8` and `~3.8` are understood in each place: elsewhere nobody writes them."""
    if exact := re.fullmatch(r"3\.(\d+)(?:\.[\d*]+)?", bound):
        return minor == int(exact[1])
    try:
        return any(each.contains(f"3.{minor}.99") for each in specifiers(bound))
    except ConfigError:
        return True


def _pins(lines: Sequence[str]) -> Iterator[tuple[str, Version]]:
    for line in lines:
        found = _PINNED.match(line)
        name = found[1].lower().replace("_", "-").removesuffix("-cpu") if found else ""
        if found and name in _SINCE:
            try:
                yield name, Version(found[2])
            except InvalidVersion:
                continue
