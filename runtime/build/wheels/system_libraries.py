"""What a wheel's libraries need of the system they are loaded on: the newest versions of glibc and libstdc++.

Only asked where a file name promises nothing: `manylinux_2_28` does (PEP 600), the plain `linux_x86_64` of a local build
doesn't. What one library of the wheel takes from another of the same wheel is not the system's to give. Where a launch resolves
requirements, what doesn't fit is left out (`launcher.plan.requirements.wheel_fit`); a lock made elsewhere may name such a wheel,
and then a warning says so.

Which versions of which libraries an ELF file needs stands in its `.gnu.version_r` section (LSB Core, "Symbol Version
Requirements"): for each library, by the name in its DT_SONAME, the versions of the symbols that are taken from it, as the dynamic
loader would demand them. A file that is no ELF of our kind, or a damaged one, needs nothing as far as we know.
"""

from __future__ import annotations

import mmap
import re
import shutil
import struct
import zipfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from runtime.build.wheels.wheel_tree import LaidOut
from runtime.light_dataclasses import dataclass

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


def glibc_warning(wheel: LaidOut, has: tuple[int, int] | None) -> str | None:
    """A sentence when a library of *wheel* needs a glibc newer than *has*; only plain `linux_…` wheels are looked at."""
    if has is None or not promises_nothing(wheel.step.filename):
        return None
    libraries = [entry.path for entry in wheel.files if library_name(entry.path)]
    needed = max(((needed_glibc(wheel.root / path), path) for path in libraries), default=((0, 0), ""))
    if needed[0] <= has:
        return None
    (major, minor), path = needed
    step = wheel.step
    tag = re.sub(r"\.whl$", "", step.filename).rpartition("-")[2]
    return (
        f"`{step.name} {step.version}` needs glibc {major}.{minor} (`{path.rpartition('site-packages/')[2]}`), which its tag "
        f"`{tag}` doesn't say; the base has {has[0]}.{has[1]}, so importing it will probably fail"
    )


def needed_glibc(path: Path) -> tuple[int, int]:
    """The newest GLIBC_x.y among the symbol versions that the ELF file *path* needs; (0, 0) for none."""
    return max((glibc_of(version) for _, version in needed_versions(path)), default=(0, 0))


_SHT_GNU_VERNEED = 0x6FFFFFFE
_MANY = 256
"""More requirements than any real library has: where reading a damaged list ends."""

Content = bytes | mmap.mmap


def needed_versions(path: Path) -> frozenset[tuple[str, str]]:
    """(library, version) pairs: `("libc.so.6", "GLIBC_2.38")`. Reads a few pages, however large *path* is."""
    try:
        with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            return frozenset(_versions(content))
    except (struct.error, ValueError, OverflowError, OSError):
        return frozenset()


def _versions(content: Content) -> Iterator[tuple[str, str]]:
    if content[:6] != b"\x7fELF\x02\x01":  # 64 bits, little-endian: what our architectures are
        return
    (sections,) = struct.unpack_from("<Q", content, 0x28)
    size, count = struct.unpack_from("<HH", content, 0x3A)
    for number in range(count):
        kind, link, offset, entries = _section(content, sections + number * size)
        if kind == _SHT_GNU_VERNEED:
            _, _, strings, _ = _section(content, sections + link * size)
            yield from _needed(content, offset, strings, min(entries, _MANY))


def _section(content: Content, at: int) -> tuple[int, int, int, int]:
    """(sh_type, sh_link, sh_offset, sh_info) of the section header at *at*."""
    _, kind, _, _, offset, _, link, info = struct.unpack_from("<IIQQQQII", content, at)
    return kind, link, offset, info


def _needed(content: Content, at: int, strings: int, files: int) -> Iterator[tuple[str, str]]:
    for _ in range(files):
        _, count, file, auxiliary, following = struct.unpack_from("<HHIII", content, at)
        library = _text(content, strings + file)
        place = at + auxiliary
        for _ in range(min(count, _MANY)):
            _, _, _, name, step = struct.unpack_from("<IHHII", content, place)
            yield library, _text(content, strings + name)
            if step == 0:
                break
            place += step
        if following == 0:
            break
        at += following


def _text(content: Content, start: int) -> str:
    end = content.find(b"\0", start, start + 4096)
    if end < 0:
        raise ValueError("a name without an end")
    return content[start:end].decode("ascii", "replace")
