"""Pin what an image starts from: `bootstrap:debian/SUITE`, `oci:DIR[:TAG]`, `docker-archive:FILE[:TAG]`, a registry's `NAME:TAG`.

A Debian base is a list of packages by version and sha256, resolved once and recorded (`debian_record.py`), so that a warm
launch asks no archive. An imported base is its manifest's digest, and its Python is asked once (`imported_base.py`).
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path

from launcher.config.spec import Image
from launcher.errors import ConfigError, Origin
from launcher.plan.bases.debian_record import ResolvedDebs, debian_architecture, is_answered, resolve_debs
from launcher.plan.bases.pinned_base import Base, BasePython
from launcher.plan.bases.pinning import Pinning
from runtime.build.debian.debian_base import CONFIGURE, interpreter_of
from runtime.build.plan import BuildPlan, DebPackage, ImageConfig, Step, UnpackDebs
from runtime.oci.digest import digest_json

_PYTHONS = {"trixie": ("3.13.5", "2_41", 33), "bookworm": ("3.11.2", "2_36", 30)}
"""Python, glibc and libstdc++ of the suites as released: for advice, and for a guess before the archive has answered."""

KNOWN_SUITES = tuple(_PYTHONS)

_GLIBCXX_OF_GCC = {12: 30, 13: 32, 14: 33, 15: 34}
"""GCC release → n of the newest `GLIBCXX_3.4.n` in its libstdc++ (GCC, "ABI Policy and Guidelines")."""

_BOOTSTRAP = re.compile(r"bootstrap:debian/([a-z]+)")
_GLIBC = re.compile(r"(?:\d+:)?(\d+)\.(\d+)")


def pin_base(
    image: Image, pinning: Pinning, *, apt: Sequence[str], origin: Origin | None = None, base_lock: Path | None = None
) -> Base:
    """The base of *image* with the *apt* packages on it. *base_lock* is the lock beside the experiment, if there is one."""
    suite = _BOOTSTRAP.fullmatch(image.base)
    if suite is not None:
        debs = resolve_debs(suite[1], image, pinning, apt=apt, base_lock=base_lock)
        return _debian_base(suite[1], debs)
    if image.base.startswith("bootstrap:"):
        hint = "as `bootstrap:debian/trixie` or `bootstrap:debian/bookworm`"
        raise ConfigError(f"`{image.base}` is not a base that can be bootstrapped", origin=origin, hint=hint)
    from launcher.plan.bases.imported_base import pin_imported

    asks_python = image.python is not None or _has_requirements(image)
    return pin_imported(image.base, pinning, apt=apt, origin=origin, base_lock=base_lock, asks_python=asks_python)


def _has_requirements(image: Image) -> bool:
    return bool(image.requirements) or any(group.requirements for group in image.groups.values())


def _debian_base(suite: str, debs: ResolvedDebs) -> Base:
    base = debs.base
    steps: list[Step] = [UnpackDebs(suite=suite, packages=base), CONFIGURE]
    if debs.added:
        steps += [UnpackDebs(suite=suite, packages=debs.added, onto_base=True), CONFIGURE]
    return Base(
        steps=tuple(steps),
        digest=digest_json([[package.name, package.version, package.architecture, package.sha256] for package in base]),
        interpreter=interpreter_of(base),
        platform=f"{os.uname().machine}-manylinux_{_glibc_of(base)}",
        architecture=debian_architecture(),
        libstdcxx=_libstdcxx_of((*base, *debs.added)),
        warnings=debs.warnings,
    )


def _glibc_of(packages: Sequence[DebPackage]) -> str:
    """`2_41` from libc6's version (`2.41-12`)."""
    for package in packages:
        found = _GLIBC.match(package.version) if package.name == "libc6" else None
        if found is not None:
            return f"{found[1]}_{found[2]}"
    raise ConfigError("the base has no libc6, so no wheel can run on it")


def _libstdcxx_of(packages: Sequence[DebPackage]) -> int | None:
    """30 from libstdc++6's version (`12.2.0-14+deb12u1`)."""
    for package in packages:
        if package.name == "libstdc++6" and (gcc := package.version.partition(".")[0]).isdigit():
            return _GLIBCXX_OF_GCC.get(int(gcc))
    return None


def check_python(wanted: str | None, base: Base, *, name: str, origin: Origin | None = None) -> None:
    """Refuse an `image.python` that the base does not have, and name the base that does."""
    if wanted is None:
        return
    has = base.interpreter
    if has is not None and wanted in (has.minor, has.version):
        return
    minor = ".".join(wanted.split(".")[:2])
    fitting = next((suite for suite, (python, *_) in _PYTHONS.items() if python.startswith(f"{minor}.")), None)
    hint = (
        f"`image.base=bootstrap:debian/{fitting}` has Python {minor}"
        if fitting
        else "leave `image.python` out, or choose another `image.base`"
    )
    found = f"Python {has.version}" if has is not None else "no Python"
    raise ConfigError(f"`image.python` is {wanted}, but the base `{name}` has {found}", origin=origin, hint=hint)


def is_recorded(image: Image, pinning: Pinning, *, base_lock: Path | None) -> bool:
    """Whether `pin_base` will find an answer on this machine, so that it asks nobody."""
    suite = _BOOTSTRAP.fullmatch(image.base)
    return suite is None or is_answered(suite[1], image, pinning, base_lock=base_lock)


def expected_python(image: Image) -> BasePython | None:
    """What *image*'s base will probably have; None when only asking tells."""
    suite = _BOOTSTRAP.fullmatch(image.base)
    known = _PYTHONS.get(suite[1]) if suite is not None else None
    return None if known is None else BasePython(known[0], f"{os.uname().machine}-manylinux_{known[1]}", known[2])


def base_plan(base: Base) -> BuildPlan:
    """A plan of the base alone: where code of an sdist runs while it is looked at."""
    return BuildPlan(steps=base.steps, config=ImageConfig(architecture=base.architecture), stages=base.stages)
