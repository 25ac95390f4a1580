"""What has no wheel for the base's Python: say so, and which Python has one."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence

from packaging.specifiers import SpecifierSet

from launcher.errors import ConfigError
from launcher.plan.bases.debian_suites import DEBIAN_SUITES
from launcher.plan.requirements.target import Target, taken_by
from runtime.build.plan import minor_of
from runtime.light_dataclasses import replace

_UV_SAYS = re.compile(r"only found wheels for `(\S+)` \(v(\S+)\) with the following Python (?:ABI|version) tags?: (.+)")
"""uv's hint (uv-resolver, "pubgrub/report.rs")."""


def other_targets(target: Target) -> Iterator[tuple[str, Target]]:
    """Other Pythons on *target*'s machine, in words (`bookworm's 3.11`, `3.12`): those of our bases, then the newest first."""
    yield from suites_targets(target)
    ours = {target.minor[1], *(int(has.minor.partition(".")[2]) for has in DEBIAN_SUITES.values())}
    for minor in (minor for minor in range(14, 7, -1) if minor not in ours):
        yield f"3.{minor}", replace(target, python=f"3.{minor}")


def suites_targets(target: Target) -> Iterator[tuple[str, Target]]:
    """Of those the ones that need no registry."""
    for suite, has in DEBIAN_SUITES.items():
        if not target.python.startswith(f"{has.minor}."):
            yield f"{suite}'s {has.minor}", Target(has.python, target.architecture, "manylinux", has.glibc)


def python_with_wheel(files: Iterable[str], target: Target) -> str | None:
    """Which other Python takes one of the wheels *files*, in the words of `other_targets`."""
    wheels = [name for name in files if name.endswith(".whl")]
    for words, other in other_targets(target) if wheels else ():
        if any(map(taken_by(other), wheels)):
            return words
    return None


def no_wheel(name: str, version: str, python: str, other: str | None) -> ConfigError:
    """The refusal of a package that has no file for *python*; *other*: see `python_with_wheel`."""
    hint = (
        f"`image.python={other.rpartition(' ')[2]}` takes a base that has it" if other else "require a version that has a wheel"
    )
    return ConfigError(
        f"no wheel of {name} {version} for Python {minor_of(python)}" + (f"; {other} has one" if other else ""), hint=hint
    )


def wrong_python(name: str, constraint: str, target: Target, *, allowed: Sequence[SpecifierSet]) -> ConfigError:
    """The refusal of what *name* calls, made for the Pythons of *allowed*, which *constraint* says, and not for *target*'s."""
    minors = [f"3.{minor}" for minor in range(7, 20) if any(each.contains(f"3.{minor}.99") for each in allowed)]
    # A Debian suite needs no registry.
    best = next((suite.minor for suite in DEBIAN_SUITES.values() if suite.minor in minors), minors[-1] if minors else None)
    hint = f"`image.python={best}` takes a base that has one" if best else None
    return ConfigError(f"{name} is for Python {constraint}, and the base has {target.python}", hint=hint)


def explain_tags(words: str, python: str) -> ConfigError | None:
    """The refusal in *words* of uv's, which found wheels for other Pythons alone; None: it is about something else."""
    found = _UV_SAYS.search(words)
    if found is None:
        return None
    minors = sorted(int(minor) for minor in re.findall(r"`cp3(\d+)", found[3]))
    for suite, has in DEBIAN_SUITES.items():
        if int(has.minor.partition(".")[2]) in minors:
            return no_wheel(found[1], found[2], python, f"{suite}'s {has.minor}")
    return no_wheel(found[1], found[2], python, f"3.{minors[-1]}" if minors else None)
