"""Choose the one file of each package for one Python and platform, out of a pylock.toml document (PEP 751).

What uv resolves lists every file of a version; an image takes exactly one. The choice is pip's: the file whose tag comes
first in the order of packaging.tags, and a source distribution only where no wheel fits.
"""

from __future__ import annotations

import re
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from launcher.errors import ConfigError, LaunchError
from launcher.plan.launch_plan import LockedWheel

if TYPE_CHECKING:
    from packaging.tags import Tag


@dataclass(frozen=True, slots=True)
class Target:
    """The Python and platform that files are chosen for."""

    python: str
    """`3.13` or `3.13.5`"""
    architecture: str
    """As `uname -m` says: `x86_64`, `aarch64`."""
    libc: str
    """`manylinux` or `musllinux`"""
    libc_version: tuple[int, int]

    @property
    def minor(self) -> tuple[int, int]:
        major, minor = self.python.split(".")[:2]
        return int(major), int(minor)

    @property
    def uv_platform(self) -> str:
        """uv's word for the platform: uv knows fixed glibc versions only, so the newest that is not newer than ours."""
        if self.libc == "musllinux":
            return f"{self.architecture}-unknown-linux-musl"
        known = [minor for minor in (17, 28, *range(31, 41)) if (2, minor) <= self.libc_version]
        if not known:
            raise ConfigError(
                f"the base's glibc {self.libc_version[0]}.{self.libc_version[1]} is older than 2.17: wheels need a newer base"
            )
        return f"{self.architecture}-manylinux_2_{known[-1]}"


def parse_target(python: str, platform: str) -> Target:
    """*platform*: `x86_64-manylinux_2_41`, `aarch64-manylinux_2_36`, `x86_64-musllinux_1_2`."""
    match = re.fullmatch(r"(x86_64|aarch64)-(manylinux|musllinux)_(\d+)_(\d+)", platform)
    if match is None or re.fullmatch(r"3\.\d+(\.\d+)?", python) is None:
        raise LaunchError(f"no wheels are known for Python `{python}` on platform `{platform}`")
    return Target(python, match[1], match[2], (int(match[3]), int(match[4])))


def supported_tags(target: Target) -> list[Tag]:
    """Tags that *target* accepts, best first. Computed from *target* alone: this machine plays no part."""
    from packaging import tags

    platforms = [*_platforms(target), f"linux_{target.architecture}"]
    major, minor = target.minor
    interpreter = f"cp{major}{minor}"
    return [
        *tags.cpython_tags((major, minor), [interpreter], platforms),
        *tags.compatible_tags((major, minor), interpreter, platforms),
    ]


_LEGACY = {(2, 17): "manylinux2014", (2, 12): "manylinux2010", (2, 5): "manylinux1"}


def _platforms(target: Target) -> list[str]:
    major, newest = target.libc_version
    oldest = 0 if target.libc == "musllinux" else (5 if target.architecture == "x86_64" else 17)
    names = []
    for minor in range(newest, oldest - 1, -1):
        names.append(f"{target.libc}_{major}_{minor}_{target.architecture}")
        if target.libc == "manylinux" and (major, minor) in _LEGACY:
            names.append(f"{_LEGACY[major, minor]}_{target.architecture}")
    return names


def marker_environment(target: Target) -> dict[str, str]:
    """The environment markers of *target* (PEP 508)."""
    full = target.python if target.python.count(".") == 2 else target.python + ".0"
    return {
        "implementation_name": "cpython",
        "implementation_version": full,
        "os_name": "posix",
        "platform_machine": target.architecture,
        "platform_python_implementation": "CPython",
        "platform_release": "",
        "platform_system": "Linux",
        "platform_version": "",
        "python_full_version": full,
        "python_version": ".".join(full.split(".")[:2]),
        "sys_platform": "linux",
        "extra": "",
    }


def choose_files(
    document: Mapping[str, Any], target: Target, *, torch: str | None = None, without: Container[str] = ()
) -> tuple[LockedWheel, ...]:
    """One file for each package of *document* that *target* needs, in the document's order. *without*: names of wheels that
    are passed over."""
    order = {str(tag): place for place, tag in reversed(list(enumerate(supported_tags(target))))}
    environment = marker_environment(target)
    chosen = []
    for package in document.get("packages", ()):
        if _wanted(package, environment):
            chosen.append(_choose(package, order, target, torch, without))
    return tuple(chosen)


def has_wheel(document: Mapping[str, Any], name: str, target: Target, *, without: Container[str]) -> bool:
    """Whether *document* has a wheel of *name* for *target* that is not in *without*."""
    order = {str(tag): 0 for tag in supported_tags(target)}
    packages = [package for package in document.get("packages", ()) if normal_name(package["name"]) == name]
    files = [file_name(wheel) for package in packages for wheel in package.get("wheels", ())]
    return any(_rank(file, order) is not None for file in files if file not in without)


def _wanted(package: Mapping[str, Any], environment: dict[str, str]) -> bool:
    marker = package.get("marker")
    if not marker:
        return True
    from packaging.markers import Marker

    # uv writes markers on `extras` and `dependency_groups` sets too (PEP 751): none are asked for.
    context: dict[str, Any] = {**environment, "extras": frozenset(), "dependency_groups": frozenset()}
    return Marker(marker).evaluate(context, context="lock_file")


def _choose(
    package: Mapping[str, Any], order: Mapping[str, int], target: Target, torch: str | None, without: Container[str]
) -> LockedWheel:
    name = package["name"]
    for kind, what in (("vcs", "version control address"), ("directory", "directory")):
        if kind in package:
            raise ConfigError(
                f"requirement `{name}` is a {what}: nothing pins its content",
                hint="name a released version or the address of a wheel, or put the code below `code.root`",
            )
    if "archive" in package:
        if file_name(package["archive"]) in without:
            raise ConfigError(f"requirement `{name}` names this one file")
        return _locked(package, package["archive"], direct=True, torch=torch)
    best: tuple[int, Mapping[str, Any]] | None = None
    # Where the index gives no hashes uv computes the one of the file that it would take.
    hashed = [wheel for wheel in package.get("wheels", ()) if wheel.get("hashes", {}).get("sha256")]
    for wheel in hashed or package.get("wheels", ()):
        rank = _rank(file_name(wheel), order) if file_name(wheel) not in without else None
        if rank is not None and (best is None or rank < best[0]):
            best = (rank, wheel)
    if best is not None:
        # By name and version uv would find the file that is passed over; by address it finds this one.
        by_address = any(file_name(wheel) in without for wheel in package["wheels"])
        return _locked(package, best[1], torch=torch, direct=by_address)
    if "sdist" in package:
        return _locked(package, package["sdist"], torch=torch)
    raise ConfigError(
        f"`{name}=={package.get('version')}` has no file for Python {target.python} on {target.architecture} "
        f"({target.libc} {target.libc_version[0]}.{target.libc_version[1]})"
    )


def _rank(filename: str, order: Mapping[str, int]) -> int | None:
    """Place of the best of a wheel's tags (PEP 425: each of the last three parts may be a set joined by dots)."""
    parts = filename.removesuffix(".whl").split("-")
    if len(parts) < 5:
        return None
    pythons, abis, platforms = (part.split(".") for part in parts[-3:])
    ranks = [order.get(f"{p}-{a}-{f}".lower()) for p in pythons for a in abis for f in platforms]
    return min((rank for rank in ranks if rank is not None), default=None)


def _locked(package: Mapping[str, Any], file: Mapping[str, Any], *, torch: str | None, direct: bool = False) -> LockedWheel:
    filename = file_name(file)
    sha256 = file.get("hashes", {}).get("sha256")
    if sha256 is None:
        raise LaunchError(f"the index gives no sha256 for `{filename}`, so it can't be pinned")
    url = _address(file)
    return LockedWheel(
        name=normal_name(package["name"]),
        version=package.get("version") or _version_in(filename),
        sha256=sha256.lower(),
        filename=filename,
        index=_index_name(url, torch),
        sdist=not filename.endswith(".whl"),
        size=file.get("size"),
        url=url if direct or file.get("keep_url") else None,
    )


def file_name(file: Mapping[str, Any]) -> str:
    """`name`, or the last part of `path` or `url` (PEP 751, `packages.wheels.name`)."""
    written: Sequence[str] = [file[key] for key in ("name", "path", "url") if file.get(key)]
    return unquote(PurePosixPath(urlsplit(written[0]).path).name)


def _address(file: Mapping[str, Any]) -> str:
    """`url`, or that of an absolute `path`: what a requirement `name @ file:///…` becomes."""
    path = PurePosixPath(file.get("path", ""))
    return str(file.get("url") or (path.as_uri() if path.is_absolute() else ""))


def file_addresses(document: Mapping[str, Any], wheels: Sequence[LockedWheel]) -> dict[str, str]:
    """File name → URL without user and password, for the files that were chosen."""
    wanted = {wheel.filename for wheel in wheels}
    files = [
        file
        for package in document.get("packages", ())
        for file in (*package.get("wheels", ()), *filter(None, (package.get("sdist"), package.get("archive"))))
    ]
    return {
        file_name(file): re.sub(r"://[^/@\s]*@", "://", _address(file))
        for file in files
        if _address(file) and file_name(file) in wanted
    }


def _version_in(filename: str) -> str:
    """The version of a file that was named by address; an sdist's is what follows the last dash."""
    if filename.endswith(".whl"):
        return filename.split("-")[1]
    return re.sub(r"\.(tar\.gz|zip|tgz|tar\.bz2)$", "", filename).rpartition("-")[2]


def _index_name(url: str, torch: str | None) -> str | None:
    """A name for where a file came from that holds no address."""
    if url.startswith("file:"):
        return "find-links"
    if torch is not None and f"/{torch}/" in url:
        return f"pytorch-{torch}"
    return None


def normal_name(name: str) -> str:
    """PEP 503."""
    return re.sub(r"[-_.]+", "-", name).lower()
