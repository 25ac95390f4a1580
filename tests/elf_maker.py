"""ELF files made byte by byte: nothing in them but which versions of which libraries they need."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence

_HEADER = 64
_SECTION = 64


def elf_that_needs(libraries: Mapping[str, Sequence[str]]) -> bytes:
    """A 64-bit little-endian ELF with a `.gnu.version_r` section. *libraries*: as `{"libc.so.6": ["GLIBC_2.38"]}`."""
    strings = b"\0"
    places: dict[str, int] = {}
    for text in (*libraries, *(version for versions in libraries.values() for version in versions)):
        places[text] = len(strings)
        strings += text.encode() + b"\0"
    needs = b"".join(
        _library(places[library], [places[version] for version in versions], last=number == len(libraries) - 1)
        for number, (library, versions) in enumerate(libraries.items())
    )
    at = _HEADER + 3 * _SECTION
    sections = [
        struct.pack("<IIQQQQIIQQ", *[0] * 10),
        struct.pack("<IIQQQQIIQQ", 0, 3, 0, 0, at, len(strings), 0, 0, 1, 0),
        struct.pack("<IIQQQQIIQQ", 0, 0x6FFFFFFE, 0, 0, at + len(strings), len(needs), 1, len(libraries), 4, 0),
    ]
    header = struct.pack("<16sHHIQQQIHHHHHH", b"\x7fELF\x02\x01\x01", 3, 62, 1, 0, 0, _HEADER, 0, _HEADER, 0, 0, _SECTION, 3, 1)
    return header + b"".join(sections) + strings + needs


def _library(name: int, versions: Sequence[int], *, last: bool) -> bytes:
    """One Elf64_Verneed with its Elf64_Vernaux entries right behind it (16 bytes each)."""
    entries = [
        struct.pack("<IHHII", 0, 0, number + 2, version, 0 if number == len(versions) - 1 else 16)
        for number, version in enumerate(versions)
    ]
    following = 0 if last else 16 + 16 * len(versions)
    return struct.pack("<HHIII", 1, len(versions), name, 16, following) + b"".join(entries)
