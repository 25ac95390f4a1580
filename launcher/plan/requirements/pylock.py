"""Choose the one file of each package for one Python and platform, out of a pylock.toml document (PEP 751).

What uv resolves lists every file of a version; an image takes exactly one, as `packaging.pylock` selects it: the file whose tag
comes first, and a source distribution only where no wheel fits.
"""

from __future__ import annotations

import re
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any, cast
from urllib.parse import unquote, urlsplit

from packaging import tags
from packaging.markers import Environment
from packaging.pylock import (
    Package,
    PackageArchive,
    PackageSdist,
    PackageWheel,
    Pylock,
    PylockSelectError,
    PylockValidationError,
)
from packaging.tags import Tag
from packaging.utils import canonicalize_name, parse_wheel_filename

from launcher.errors import ConfigError, LaunchError
from launcher.plan.launch_plan import LockedWheel


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


KEEP_ADDRESS: Mapping[str, Any] = {"launch": {"keep_address": True}}
"""`tool` of a package in a document whose file would not be found by its name when it is downloaded."""


_HEAD = {"lock-version": "1.0", "created-by": "unknown"}
"""What PEP 751 requires and a file that a person wrote may lack."""


def choose_files(
    document: Mapping[str, Any], target: Target, *, torch: str | None = None, without: Container[str] = ()
) -> dict[LockedWheel, str]:
    """One file for each package of *document* that *target* needs, in the document's order → its URL, without user and password.

    *without*: names of wheels that are passed over. Raises ConfigError for a package that has no file which *target* takes, and
    for one whose content nothing pins.
    """
    left_out = {
        canonicalize_name(package["name"])
        for package in document.get("packages", ())
        if any(file_name(file) in without for file in package.get("wheels", ()))
    }
    chosen = {}
    try:
        packages = [_usable(package, without) for package in document.get("packages", ())]
        lock = Pylock.from_dict({**_HEAD, **document, "packages": packages})
        # None of what uv marks for extras and groups is asked for.
        environment = cast(Environment, marker_environment(target))
        for package, file in lock.select(environment=environment, tags=supported_tags(target), dependency_groups=()):
            # By name and version uv would find the file that is passed over; by address it finds this one.
            direct = isinstance(file, PackageArchive) or package.tool == KEEP_ADDRESS or package.name in left_out
            wheel, address = _lock(package, file, direct=direct, torch=torch)
            chosen[wheel] = address
    except PylockSelectError as error:
        libc = f"{target.libc} {target.libc_version[0]}.{target.libc_version[1]}"
        raise ConfigError(f"no file matches Python {target.python} on {target.architecture} ({libc}): {error}") from error
    except PylockValidationError as error:
        raise ConfigError(f"not a pylock.toml as PEP 751 has it: {error}") from error
    return chosen


def _usable(package: Mapping[str, Any], without: Container[str]) -> dict[str, Any]:
    """*package* with the files that may be taken. Where the index gives no hashes uv computes the one of the file that it would
    take."""
    files = [file for file in package.get("wheels", ()) if file_name(file) not in without]
    if "archive" in package and file_name(package["archive"]) in without:
        raise ConfigError(f"requirement `{package['name']}` names this one file")
    wheels = [file for file in files if file.get("hashes", {}).get("sha256")] or [file for file in files if file.get("hashes")]
    if files and not wheels:
        raise LaunchError(f"the index gives no sha256 for `{file_name(files[0])}`, so it can't be pinned")
    sdist = package.get("sdist")
    if wheels and sdist is not None and not (sdist.get("hashes") and file_name(sdist).endswith((".tar.gz", ".zip"))):
        sdist = None  # of a form that is out of use (PEP 625): no reason to refuse the wheels beside it
    if package.get("wheels") and not wheels and sdist is None:
        raise ConfigError(f"`{package['name']}=={package.get('version')}` has no other file")
    others = {name: value for name, value in package.items() if name not in ("wheels", "sdist")}
    return {**others, **({"wheels": wheels} if wheels else {}), **({} if sdist is None else {"sdist": sdist})}


def has_wheel(document: Mapping[str, Any], name: str, target: Target, *, without: Container[str]) -> bool:
    """Whether *document* has a wheel of *name* for *target* that is not in *without*."""
    tags = frozenset(supported_tags(target))
    packages = [package for package in document.get("packages", ()) if canonicalize_name(package["name"]) == name]
    files = [file_name(wheel) for package in packages for wheel in package.get("wheels", ())]
    return any(not tags.isdisjoint(parse_wheel_filename(file)[3]) for file in files if file not in without)


def _lock(package: Package, file: object, *, direct: bool, torch: str | None) -> tuple[LockedWheel, str]:
    if not isinstance(file, PackageArchive | PackageSdist | PackageWheel):
        what = "directory" if package.directory is not None else "version control address"
        raise ConfigError(
            f"requirement `{package.name}` is a {what}: nothing pins its content",
            hint="name a released version or the address of a wheel, or put the code below `code.root`",
        )
    place = PurePosixPath(file.path or "")
    # What a requirement `name @ file:///…` becomes is an absolute path.
    url = str(file.url or (place.as_uri() if place.is_absolute() else ""))
    filename = unquote(PurePosixPath(urlsplit(url).path).name) if isinstance(file, PackageArchive) else file.filename
    sha256 = file.hashes.get("sha256")
    if sha256 is None:
        raise LaunchError(f"the index gives no sha256 for `{filename}`, so it can't be pinned")
    wheel = LockedWheel(
        name=package.name,
        version=str(package.version or _version_in(filename)),
        sha256=sha256.lower(),
        filename=filename,
        index=_index_name(url, torch),
        sdist=not filename.endswith(".whl"),
        size=file.size,
        url=url if direct else None,
    )
    return wheel, re.sub(r"://[^/@\s]*@", "://", url)


def file_name(file: Mapping[str, Any]) -> str:
    """`name`, or the last part of `path` or `url` (PEP 751, `packages.wheels.name`)."""
    written: Sequence[str] = [file[key] for key in ("name", "path", "url") if file.get(key)]
    return unquote(PurePosixPath(urlsplit(written[0]).path).name)


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
