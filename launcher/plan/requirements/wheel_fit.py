"""Find wheels that say they fit any Linux and would not load on the base: what a local build is named, and what it needs.

The resolver takes `torch-2.13.0+cpu-cp311-cp311-linux_x86_64.whl` for every base, since its name promises nothing; `import
torch` on an older glibc then dies. Such a file, where it lies on this machine, is opened once and what it needs remembered by
its place, size and times. Only asked while resolving: a recorded lock holds what fitted. Which base has which libraries is
`base_image.py`'s and `imported_base.py`'s to say.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from launcher.errors import ConfigError
from launcher.plan.answers import keep_answer, read_answer
from launcher.plan.bases.debian_suites import DEBIAN_SUITES
from launcher.plan.launch_plan import LockedWheel
from launcher.plan.requirements.target import Target, taken_by
from runtime.build.wheels.system_libraries import SystemLibraries, needs_of, promises_nothing
from runtime.light_dataclasses import dataclass

_FORMAT = 1


@dataclass(frozen=True, slots=True)
class Misfit:
    """A wheel, and what it needs that the base doesn't have."""

    wheel: LockedWheel
    needs: SystemLibraries
    has: SystemLibraries

    def __str__(self) -> str:
        """`x.whl` needs glibc 2.38 and the base has 2.36"""
        needs, has = self.needs.glibc, self.has.glibc
        if has == (0, 0):
            return f"`{self.wheel.filename}` needs glibc {_dotted(needs)} and the base has musl"
        if needs > has:
            return f"`{self.wheel.filename}` needs glibc {_dotted(needs)} and the base has {_dotted(has)}"
        return (
            f"`{self.wheel.filename}` needs a libstdc++ with GLIBCXX_3.4.{self.needs.glibcxx} "
            f"and the base's ends with GLIBCXX_3.4.{self.has.glibcxx}"
        )


def misfits(
    wheels: Sequence[LockedWheel], addresses: Mapping[str, str], *, has: SystemLibraries, cache_dir: Path
) -> list[Misfit]:
    """Those of *wheels* that cannot load where *has* is all there is. *addresses*: file name → URL; files elsewhere than on
    this machine are taken at their word."""
    found = []
    for wheel in wheels:
        address = urlsplit(addresses.get(wheel.filename, ""))
        if not promises_nothing(wheel.filename) or address.scheme != "file":
            continue
        needs = _needs(Path(unquote(address.path)), cache_dir)
        if needs.glibc > has.glibc or (has.glibcxx is not None and (needs.glibcxx or 0) > has.glibcxx):
            found.append(Misfit(wheel, needs, has))
    return found


def warnings_of(left_out: Sequence[Misfit], taken: Sequence[LockedWheel]) -> tuple[str, ...]:
    """One line for each file that was left out."""
    instead = {wheel.name: wheel.filename for wheel in taken}
    return tuple(
        f"{misfit}: " + (f"`{instead[name]}` is taken instead" if (name := misfit.wheel.name) in instead else "it is left out")
        for misfit in left_out
    )


def nothing_fits(left_out: Sequence[Misfit], error: ConfigError, target: Target) -> ConfigError:
    """*error* came up without the files that were *left_out* for *target*: say why they were, and which base would take them."""
    reasons = "; ".join(map(str, left_out))
    return ConfigError(f"{reasons}, and nothing else fits: {error.message}", hint=_hint(left_out, target) or error.hint)


def _hint(left_out: Sequence[Misfit], target: Target) -> str:
    needs = max(misfit.needs.glibc for misfit in left_out)
    for suite, has in reversed(DEBIAN_SUITES.items()):
        is_taken = taken_by(Target(has.python, target.architecture, "manylinux", has.glibc))
        if needs <= has.glibc and all(is_taken(misfit.wheel.filename) for misfit in left_out):
            return f"`image.python={has.minor}` (Debian {suite}) has glibc {_dotted(has.glibc)} and Python {has.minor}"
    tags = {misfit.wheel.filename.split("-")[-3] for misfit in left_out}
    python = next((f"Python 3.{tag[3:]}" for tag in sorted(tags) if tag.startswith("cp3") and tag[3:]), "Python 3")
    return (
        f"they need a base with {python} and glibc {_dotted(needs)} or newer (`image.base=oci:DIR`), "
        "or an index that has wheels for this one"
    )


def _needs(wheel: Path, cache_dir: Path) -> SystemLibraries:
    """What *wheel* needs, remembered. A file that can't be read needs nothing: uv will say what is wrong with it."""
    import tempfile
    import zipfile

    try:
        status = wheel.stat()
        stamp = [_FORMAT, os.fspath(wheel), status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns]
        record = cache_dir / "wheel-needs" / f"{hashlib.sha256(repr(stamp).encode()).hexdigest()[:32]}.json"
        if (known := read_answer(record, _libraries)) is not None:
            return known
        cache_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix="look-", dir=cache_dir) as scratch:
            needs = needs_of(wheel, scratch=Path(scratch))
        keep_answer(record, {"wheel": os.fspath(wheel), "glibc": needs.glibc, "glibcxx": needs.glibcxx})
        return needs
    except (OSError, zipfile.BadZipFile):
        return SystemLibraries((0, 0))


def _libraries(document: dict[str, Any]) -> SystemLibraries:
    major, minor = document["glibc"]
    return SystemLibraries((major, minor), document["glibcxx"])


def _dotted(version: tuple[int, int]) -> str:
    return f"{version[0]}.{version[1]}"
