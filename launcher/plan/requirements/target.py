"""The Python and platform that files are chosen for: its wheel tags and its environment markers.

Computed from the base's answers alone: this machine plays no part.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from packaging import tags
from packaging.tags import Tag
from packaging.utils import InvalidWheelFilename, parse_wheel_filename

from launcher.errors import ConfigError, LaunchError
from runtime.build.plan import minor_of
from runtime.light_dataclasses import dataclass


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


def taken_by(target: Target) -> Callable[[str], bool]:
    """Asks of a wheel's file name whether *target* takes it; a name that is no wheel's is not taken."""
    supported = frozenset(supported_tags(target))

    def is_taken(filename: str) -> bool:
        try:
            return not supported.isdisjoint(parse_wheel_filename(filename)[3])
        except InvalidWheelFilename:
            return False

    return is_taken


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
        "python_version": minor_of(full),
        "sys_platform": "linux",
        "extra": "",
    }
