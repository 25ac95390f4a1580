"""The .debs of a base: from a lock file in the project, else as recorded here before, else asked of the archive and recorded.

Records are in `StateDir.cache`/bases, one file for each request. Resolving is `runtime.build.debian.locked_debs`.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import urlsplit

from launcher.config.spec import Image
from launcher.errors import ConfigError
from launcher.plan.answers import keep_answer, read_answer
from launcher.plan.bases.pinning import Pinning
from launcher.plan.code.git_repository import without_credentials
from runtime.build.debian.debian_base import BASE_PACKAGES
from runtime.build.plan import DebPackage
from runtime.light_dataclasses import dataclass
from runtime.oci.digest import Digest, digest_json

_FORMAT = 1
_DEBIAN_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}


@dataclass(frozen=True, slots=True)
class ResolvedDebs:
    base: tuple[DebPackage, ...]
    added: tuple[DebPackage, ...]
    """What `image.apt` adds to *base*."""
    warnings: tuple[str, ...] = ()


def resolve_debs(
    suite: str, image: Image, pinning: Pinning, *, apt: Sequence[str], base_lock: Path | None = None
) -> ResolvedDebs:
    """The .debs of the base of *suite*, and those that *apt* adds."""
    locked = None
    if base_lock is not None and not pinning.refresh:
        from launcher.plan.bases.base_lock_file import read_base_lock

        locked = read_base_lock(base_lock, suite=suite, apt=apt)
    warnings = () if locked is None or locked.warning is None else (locked.warning,)
    if locked is not None and locked.base_is_current and locked.added_is_current:
        return ResolvedDebs(base=locked.base, added=locked.added)
    ask = _Archive(suite, image, pinning)
    base = locked.base if locked is not None and locked.base_is_current else ask.debs(BASE_PACKAGES, already=())
    added = ask.debs(tuple(sorted(set(apt))), already=base) if apt else ()
    return ResolvedDebs(base=base, added=added, warnings=warnings)


def is_answered(suite: str, image: Image, pinning: Pinning, *, base_lock: Path | None = None) -> bool:
    """Whether the base of *suite* is locked or recorded."""
    if base_lock is not None and base_lock.exists():
        return True
    return _Archive(suite, image, pinning).record(BASE_PACKAGES, ()).exists()


def debian_architecture() -> str:
    machine = os.uname().machine
    if machine not in _DEBIAN_ARCHITECTURES:
        raise ConfigError(f"no base is known for this machine's architecture `{machine}`", hint="amd64 and arm64 are supported")
    return _DEBIAN_ARCHITECTURES[machine]


class _Archive:
    """The archive of one suite, behind the records of what it answered."""

    def __init__(self, suite: str, image: Image, pinning: Pinning) -> None:
        self._suite = suite
        self._mirror = image.mirror
        self._state, self._environ, self._refresh, _ = pinning

    def record(self, packages: Sequence[str], already: tuple[DebPackage, ...]) -> Path:
        return self._state.cache / "bases" / f"{self._key(packages, already).hex}.json"

    def debs(self, packages: Sequence[str], *, already: tuple[DebPackage, ...]) -> tuple[DebPackage, ...]:
        record = self.record(packages, already)
        if not self._refresh:
            known = read_answer(record, lambda document: tuple(DebPackage(*package) for package in document["debs"]))
            if known is not None:
                return known
        found = self._ask(packages, already)
        rows = [[deb.name, deb.version, deb.architecture, deb.archive, deb.pool_path, deb.size, deb.sha256] for deb in found]
        keep_answer(record, {"suite": self._suite, "packages": list(packages), "debs": rows})
        return found

    def _key(self, packages: Sequence[str], already: tuple[DebPackage, ...]) -> Digest:
        mirror = self._mirror or self._environ.get("LAUNCH_DEBIAN_MIRROR") or ""
        return digest_json(
            {
                "format": _FORMAT,
                "suite": self._suite,
                "packages": list(packages),
                "machine": os.uname().machine,
                # A named mirror may be a snapshot of another day; the machine's own apt sources are as good as each other.
                "mirror": [without_credentials(word) if urlsplit(word).scheme else word for word in mirror.split()],
                "already": [package.sha256 for package in already],
            }
        )

    def _ask(self, packages: Sequence[str], already: tuple[DebPackage, ...]) -> tuple[DebPackage, ...]:
        from runtime.build.debian.apt_sources import debian_source
        from runtime.build.debian.locked_debs import resolve_base

        source = debian_source(self._suite, mirror=self._mirror, environ=self._environ, cache_dir=self._state.cache / "debian")
        architecture = debian_architecture()
        return resolve_base(
            self._suite, packages, source=source, architecture=architecture, already=already, environ=self._environ
        )
