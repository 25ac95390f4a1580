"""Let uv resolve around what a base has installed: for each of its packages a wheel with nothing but metadata.

uv takes installed packages into account only where it installs, not where it resolves. So it finds them as files
(`--find-links`), chosen before all others of their version (the highest build number, the best tag) and before other versions
(preferences: an output file that is there already). What stays (`BasePackage.stays`) is a constraint as well, as long as that can
be met. A resolution names the stub wheels that it took; they are what the base provides, and no file of the lock.
"""

from __future__ import annotations

import json
import re
from collections.abc import Container, Mapping, Sequence
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from launcher.plan.bases.base_packages import BasePackage, packages_digest
from launcher.plan.requirements.pylock import file_name
from launcher.plan.requirements.target import Target, marker_environment
from runtime.oci.digest import digest_json
from runtime.whole_file import new_directory

_BUILD = "999999999launch"
"""Build number (PEP 427) of stub wheels: their mark, and higher than that of any wheel."""
_VARIANT = re.compile(r"\+(cpu|cu\d+|rocm[\d.]+)")


class StubWheels:
    """The wheels that stand for *packages* below *cache_dir*; written when first asked for."""

    def __init__(self, packages: Sequence[BasePackage], target: Target, *, backend: str | None, cache_dir: Path) -> None:
        """*backend* is torch's variant that was asked for: another one of the base doesn't count."""
        self.packages = tuple(each for each in packages if _is_variant(each, backend))
        self._target = target
        self._cache_dir = cache_dir

    def directory(self) -> Path:
        """The directory for `--find-links`. Its name says what is in it, so that uv's cache knows its files again."""
        name = digest_json([1, self._target.uv_platform, self._target.minor, packages_digest(self.packages)]).hex[:32]
        place = self._cache_dir / "stub-wheels" / name
        if place.is_dir():
            return place
        place.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with new_directory(place, mode=0o755) as made:
            for package in self.packages:
                self._write(package, made)
        return place

    def preferences(self) -> str:
        """A pylock.toml that makes uv prefer the base's versions, as what was locked before."""
        packages = "".join(
            f"[[packages]]\nname = {json.dumps(each.name)}\nversion = {json.dumps(each.version)}\n" for each in self.packages
        )
        return f'lock-version = "1.0"\ncreated-by = "launch"\n{packages or "packages = []"}\n'

    def constraints(self) -> list[str]:
        """Lines that hold what stays."""
        return [f"{each.name}=={each.version}" for each in self.packages if each.stays]

    def build_constraints(self) -> list[str]:
        """Lines that keep stub wheels out of the environments in which source distributions are built."""
        return [f"{each.name}!={each.version}" for each in self.packages]

    def _write(self, package: BasePackage, directory: Path) -> None:
        import zipfile

        name = package.name.replace("-", "_")
        tag = f"cp{self._target.minor[0]}{self._target.minor[1]}"
        platform = _platform_tag(self._target.uv_platform)
        info = f"{name}-{package.version}.dist-info"
        lines = ["Metadata-Version: 2.1", f"Name: {package.name}", f"Version: {package.version}"]
        lines += [f"Provides-Extra: {extra}" for extra in package.extras]
        lines += [f"Requires-Dist: {line}" for line in self._requires(package)]
        files = {
            "METADATA": "\n".join(lines) + "\n",
            "WHEEL": f"Wheel-Version: 1.0\nGenerator: launch\nRoot-Is-Purelib: true\nTag: {tag}-{tag}-{platform}\n",
            "RECORD": "",
        }
        path = directory / f"{name}-{package.version}-{_BUILD}-{tag}-{tag}-{platform}.whl"
        with zipfile.ZipFile(path, "w") as archive:
            for file, content in files.items():
                archive.writestr(zipfile.ZipInfo(f"{info}/{file}"), content)

    def _requires(self, package: BasePackage) -> list[str]:
        """What *package* needs and has. What it lacks on the base, or has in a version that it doesn't want, is the base's own
        affair: it was made so, and filling it up might bring gigabytes. Extras are asked for, so they count whole."""
        versions = {each.name: each.version for each in self.packages}
        environment = marker_environment(self._target)
        kept = []
        for line in package.requires:
            needed = Requirement(line)
            has = versions.get(canonicalize_name(needed.name))
            only_with_extra = needed.marker is not None and not needed.marker.evaluate(environment)
            if only_with_extra or (has is not None and _is_met(needed, has)):
                kept.append(line)
        return kept


def without_stubs(
    document: Mapping[str, Any], stub_wheels: StubWheels | None
) -> tuple[dict[str, Any], tuple[tuple[str, str], ...]]:
    """*document* (pylock.toml) without the packages for which a stub wheel was taken, and their names and versions."""
    if stub_wheels is None:
        return dict(document), ()
    provided, others = [], []
    for package in document.get("packages", ()):
        if any(f"-{_BUILD}-" in file_name(wheel) for wheel in package.get("wheels", ())):
            provided.append((canonicalize_name(package["name"]), str(package["version"])))
        else:
            others.append(package)
    return {**document, "packages": others}, tuple(sorted(provided))


def same_versions(document: Mapping[str, Any], stub_wheels: StubWheels) -> tuple[tuple[str, str], ...]:
    """What of a *document* that pins everything already the base has in that version; a local part of the base's version counts
    only where the document names one (as `==` of PEP 440)."""
    has = {each.name: each.version for each in stub_wheels.packages}
    found = []
    for package in document.get("packages", ()):
        name, version = canonicalize_name(package["name"]), str(package.get("version"))
        if name in has and version in (has[name], has[name].partition("+")[0]):
            found.append((name, has[name]))
    return tuple(sorted(found))


def replaced_packages(names: Container[str], packages: Sequence[BasePackage]) -> tuple[tuple[str, str], ...]:
    """Those of *packages* that a lock of files of these *names* is installed over."""
    return tuple((each.name, each.version) for each in packages if each.name in names)


def replacement_warnings(wheels: Mapping[str, str], packages: Sequence[BasePackage], target: Target) -> tuple[str, ...]:
    """One line for each of *packages* that one of *wheels* (name → version) is installed over, and who of the base minds."""
    environment = marker_environment(target)
    lines = []
    for old in packages:
        if old.name not in wheels:
            continue
        line = f"`{old.name} {wheels[old.name]}` is installed over the base's {old.version}"
        minds = [
            f"`{other.name}` ({needed.specifier})"
            for other in packages
            if other.name not in wheels
            for needed in map(Requirement, other.requires)
            if canonicalize_name(needed.name) == old.name
            and (needed.marker is None or needed.marker.evaluate(environment))
            and _is_met(needed, old.version)
            and not _is_met(needed, wheels[old.name])
        ]
        lines.append(line + (f", which these of the base don't want: {', '.join(minds)}" if minds else ""))
    return tuple(lines)


def _is_met(needed: Requirement, version: str) -> bool:
    return needed.url is not None or needed.specifier.contains(version, prereleases=True)


def _is_variant(package: BasePackage, backend: str | None) -> bool:
    variant = _VARIANT.search(package.version)
    return backend in (None, "auto") or variant is None or variant[1] == backend


def _platform_tag(uv_platform: str) -> str:
    """`manylinux_2_36_x86_64` from `x86_64-manylinux_2_36`, uv's word for the platform."""
    architecture, _, rest = uv_platform.partition("-")
    return f"musllinux_1_2_{architecture}" if rest.endswith("musl") else f"{rest}_{architecture}"
