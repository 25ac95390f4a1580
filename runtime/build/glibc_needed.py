"""Warn of a wheel that needs a newer glibc than the base has, where its file name doesn't tell.

`manylinux_2_28` in a name is a promise (PEP 600); `linux_x86_64`, as local builds have it, promises nothing, and the resolver
takes it anyway. What a shared library really needs stands in its `.gnu.version_r` section (LSB Core, "Symbol Version
Requirements"). A file that is no ELF of our kind, or a damaged one, needs nothing as far as we know.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from pathlib import Path

from runtime.build.wheel_tree import LaidOut

_SHT_GNU_VERNEED = 0x6FFFFFFE
_GLIBC = re.compile(rb"GLIBC_(\d+)\.(\d+)(?:\.\d+)?")
_MANY = 256
"""More requirements than any real library has: where reading a damaged list ends."""


def glibc_warning(wheel: LaidOut, has: tuple[int, int] | None) -> str | None:
    """A sentence when a library of *wheel* needs a glibc newer than *has*; only plain `linux_…` wheels are looked at."""
    platforms = wheel.step.filename.removesuffix(".whl").rpartition("-")[2].split(".")
    if has is None or not any(platform.startswith("linux_") for platform in platforms):
        return None
    libraries = [entry.path for entry in wheel.files if re.search(r"\.so(\.\d+)*$", entry.path)]
    needed = max(((needed_glibc(wheel.root / path), path) for path in libraries), default=((0, 0), ""))
    if needed[0] <= has:
        return None
    (major, minor), path = needed
    step = wheel.step
    return (
        f"`{step.name} {step.version}` needs glibc {major}.{minor} (`{path.rpartition('site-packages/')[2]}`), which its tag "
        f"`{'.'.join(platforms)}` doesn't say; the base has {has[0]}.{has[1]}, so importing it will probably fail"
    )


def needed_glibc(path: Path) -> tuple[int, int]:
    """The newest GLIBC_x.y among the symbol versions that the ELF file *path* needs; (0, 0) for none."""
    try:
        content = path.read_bytes()
        return max(_versions(content), default=(0, 0))
    except (struct.error, ValueError, OverflowError, OSError):
        return (0, 0)


def _versions(content: bytes) -> Iterator[tuple[int, int]]:
    if content[:6] != b"\x7fELF\x02\x01":  # 64 bits, little-endian: what our architectures are
        return
    (sections,) = struct.unpack_from("<Q", content, 0x28)
    size, count = struct.unpack_from("<HH", content, 0x3A)
    for number in range(count):
        kind, link, offset, entries = _section(content, sections + number * size)
        if kind == _SHT_GNU_VERNEED:
            _, _, strings, _ = _section(content, sections + link * size)
            yield from _needed(content, offset, strings, min(entries, _MANY))


def _section(content: bytes, at: int) -> tuple[int, int, int, int]:
    """(sh_type, sh_link, sh_offset, sh_info) of the section header at *at*."""
    _, kind, _, _, offset, _, link, info = struct.unpack_from("<IIQQQQII", content, at)
    return kind, link, offset, info


def _needed(content: bytes, at: int, strings: int, files: int) -> Iterator[tuple[int, int]]:
    for _ in range(files):
        _, count, _, auxiliary, following = struct.unpack_from("<HHIII", content, at)
        place = at + auxiliary
        for _ in range(min(count, _MANY)):
            _, _, _, name, step = struct.unpack_from("<IHHII", content, place)
            start = strings + name
            match = _GLIBC.fullmatch(content[start : content.index(b"\0", start)]) if start < len(content) else None
            if match is not None:
                yield int(match[1]), int(match[2])
            if step == 0:
                break
            place += step
        if following == 0:
            break
        at += following
