"""What a wheel's libraries want of the system they are loaded on: the newest versions of glibc and libstdc++.

Only needed where a file name promises nothing: `manylinux_2_28` does (PEP 600), the plain `linux_x86_64` of a local build
doesn't. What one library of the wheel takes from another of the same wheel is not the system's to give.
"""

from __future__ import annotations

import re
import shutil
import zipfile
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from runtime.build.symbol_versions import needed_versions

_GLIBC = re.compile(r"GLIBC_(\d+)\.(\d+)(?:\.\d+)?")
_GLIBCXX = re.compile(r"GLIBCXX_3\.4\.(\d+)")
_NAMED_GLIBC = {"GLIBC_ABI_DT_RELR": (2, 36), "GLIBC_ABI_GNU2_TLS": (2, 42), "GLIBC_ABI_GNU_TLS": (2, 42)}
"""Versions that stand for a feature of the loader, and the release that brought it (glibc's NEWS)."""
_LIBRARY = re.compile(r"\.so(\.\d+)*$")


@dataclass(frozen=True, slots=True)
class SystemLibraries:
    """What a base offers, or what a wheel wants at least."""

    glibc: tuple[int, int]
    """(0, 0): none is wanted; or the base has another C library."""
    glibcxx: int | None = None
    """n of libstdc++'s `GLIBCXX_3.4.n`; None: not wanted, or not known."""


def promises_nothing(filename: str) -> bool:
    """Whether a wheel's name says only `linux_ARCH` about the system that it runs on."""
    platforms = filename.removesuffix(".whl").rpartition("-")[2].split(".")
    return filename.endswith(".whl") and any(platform.startswith("linux_") for platform in platforms)


def library_name(path: str) -> bool:
    return _LIBRARY.search(path) is not None


def glibc_of(version: str) -> tuple[int, int]:
    """`GLIBC_2.38` → (2, 38); (0, 0) for what is none of glibc's."""
    match = _GLIBC.fullmatch(version)
    return (int(match[1]), int(match[2])) if match else _NAMED_GLIBC.get(version, (0, 0))


def needs_of(wheel: Path, *, scratch: Path) -> SystemLibraries:
    """What the libraries in *wheel* want. One at a time is unpacked into the directory *scratch*: some have 500 MB.

    Raises OSError or zipfile.BadZipFile when *wheel* cannot be read.
    """
    wanted: set[tuple[str, str]] = set()
    with zipfile.ZipFile(wheel) as archive:
        libraries = [info for info in archive.infolist() if library_name(info.filename) and not info.is_dir()]
        for info in libraries:
            place = scratch / "library"
            with archive.open(info) as packed, open(place, "wb") as unpacked:
                shutil.copyfileobj(packed, unpacked, 1 << 20)
            wanted |= needed_versions(place)
            place.unlink()
    own = {PurePosixPath(info.filename).name for info in libraries}
    versions = [version for library, version in wanted if library not in own]
    cxx = [int(match[1]) for version in versions if (match := _GLIBCXX.fullmatch(version))]
    return SystemLibraries(max(map(glibc_of, versions), default=(0, 0)), max(cxx, default=None))
