"""Pin what an image starts from: `bootstrap:debian/SUITE`, `oci:DIR[:TAG]`, `docker-archive:FILE[:TAG]`, a registry's `NAME:TAG`.

A Debian base is a list of packages by version and sha256, resolved once and recorded (`debian_record.py`), so that a warm
launch asks no archive; a Python that its suite doesn't have is uv's (`managed_python.py`). An imported base is its manifest's
digest, and its Python is asked once (`imported_base.py`).
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path

from launcher.config.spec import Image
from launcher.errors import ConfigError, Origin
from launcher.plan.bases.debian_record import ResolvedDebs, debian_architecture, is_answered, resolve_debs
from launcher.plan.bases.debian_suites import DEBIAN_SUITES
from launcher.plan.bases.pinned_base import Base, BasePython
from launcher.plan.bases.pinning import Pinning
from runtime.build.debian.debian_base import CONFIGURE, interpreter_of
from runtime.build.plan import BuildPlan, DebPackage, ImageConfig, Step, UnpackDebs, minor_of
from runtime.light_dataclasses import replace
from runtime.oci.digest import digest_json

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
        base = _debian_base(suite[1], debs)
        if image.python is None or has_python(base, image.python):
            return base
        return _with_managed_python(base, image.python, pinning, base_lock)
    if image.base.startswith("bootstrap:"):
        hint = "as `bootstrap:debian/trixie` or `bootstrap:debian/bookworm`"
        raise ConfigError(f"`{image.base}` is not a base that can be bootstrapped", origin=origin, hint=hint)
    from launcher.plan.bases.imported_base import pin_imported
    from launcher.plan.bases.stored_image import adding_similar, pin_stored

    asks_python = image.python is not None or _has_requirements(image)
    if not pinning.refresh and (base_lock is None or not base_lock.exists()):
        stored = pin_stored(image.base, pinning, apt=apt, origin=origin, asks_python=asks_python)
        if stored is not None:
            return stored
    with adding_similar(image.base, state=pinning.state):
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


def _with_managed_python(base: Base, wanted: str, pinning: Pinning, base_lock: Path | None) -> Base:
    from launcher.plan.bases.managed_python import pin_managed_python

    locked = None
    if not pinning.refresh:
        from launcher.plan.bases.base_lock_file import read_locked_python

        found = read_locked_python(base_lock, wanted=wanted)
        locked = None if found is None else found.python
    with pinning.working(f"asking uv for Python {wanted}"):
        python = pin_managed_python(wanted, pinning, locked=locked)
    return replace(
        base,
        # Beside the suite's packages, and below the experiment's.
        steps=(*base.steps[:2], *python.steps, *base.steps[2:]),
        digest=digest_json([base.digest, python.sha256]),
        interpreter=python.interpreter,
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
    if wanted is None or has_python(base, wanted):
        return
    has = base.interpreter
    minor = minor_of(wanted)
    fitting = next((suite for suite, its in DEBIAN_SUITES.items() if its.has_python(wanted)), None)
    hint = f"`image.base=bootstrap:debian/{fitting}` has Python {minor}; " if fitting else ""
    found = f"Python {has.version}" if has is not None else "no Python"
    raise ConfigError(
        f"`image.python` is {wanted}, but the base `{name}` has {found}",
        origin=origin,
        hint=f"{hint}without an `image.base` of your own one that has Python {minor} is taken",
    )


def has_python(base: Base, wanted: str) -> bool:
    """Whether the Python of *base* is *wanted*, `3.13` or `3.13.5`."""
    has = base.interpreter
    return has is not None and wanted in (has.minor, has.version)


def is_recorded(image: Image, pinning: Pinning, *, base_lock: Path | None) -> bool:
    """Whether `pin_base` will find an answer on this machine, so that it asks nobody."""
    suite = _BOOTSTRAP.fullmatch(image.base)
    return suite is None or is_answered(suite[1], image, pinning, base_lock=base_lock)


def expected_python(image: Image) -> BasePython | None:
    """What *image*'s base will probably have; None when only asking tells."""
    suite = _BOOTSTRAP.fullmatch(image.base)
    known = DEBIAN_SUITES.get(suite[1]) if suite is not None else None
    if known is None or (image.python is not None and not known.has_python(image.python)):
        return None
    return BasePython(known.python, f"{os.uname().machine}-manylinux_{known.glibc[0]}_{known.glibc[1]}", known.libstdcxx)


def base_plan(base: Base) -> BuildPlan:
    """A plan of the base alone: where code of an sdist runs while it is looked at."""
    return BuildPlan(steps=base.steps, config=ImageConfig(architecture=base.architecture), stages=base.stages)
