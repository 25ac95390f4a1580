"""Read from an ELF file which versions of which libraries it needs, as the dynamic loader would demand them.

They stand in the `.gnu.version_r` section (LSB Core, "Symbol Version Requirements"): for each library, by the name in its
DT_SONAME, the versions of the symbols that are taken from it. A file that is no ELF of our kind, or a damaged one, needs
nothing as far as we know.
"""

from __future__ import annotations

import mmap
import struct
from collections.abc import Iterator
from pathlib import Path

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
