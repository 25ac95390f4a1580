"""The dynamic loader's cache, /etc/ld.so.cache, read and added to without running ldconfig.

The format is glibc's (elf/cache.c, sysdeps/generic/dl-cache.h), "glibc-ld.so.cache1.1"; an older part may stand before it. Names
are sorted in falling order for a binary search in which digits compare as numbers. Of entries with one name the first wins.
"""

from __future__ import annotations

import platform
import re
import struct
from collections.abc import Sequence
from functools import cmp_to_key

from runtime.errors import BadContent
from runtime.light_dataclasses import dataclass

_MAGIC = b"glibc-ld.so.cache1.1"
_HEADER = struct.Struct("<20sIIB3xI12x")
_ENTRY = struct.Struct("<iIIIQ")
_LITTLE_ENDIAN = 2
_EXTENSION_MAGIC = 0xEAA42174
_HWCAPS = 1
_HWCAP_EXTENSION = 1 << 62
_HWCAP_INDEX = 0xFFFFFFFF
FLAGS = {"x86_64": 0x0303, "aarch64": 0x0A03}
"""Of a 64-bit library: FLAG_ELF_LIBC6 and the architecture's."""
_MOST_ENTRIES = 1 << 20
_DIGITS = "0123456789"


@dataclass(frozen=True, slots=True)
class CachedLibrary:
    """One line of `ldconfig -p`."""

    name: str
    path: str
    flags: int = FLAGS.get(platform.machine(), 0x0303)
    os_version: int = 0
    hwcap: int = 0
    subdirectory: str | None = None
    """Below `glibc-hwcaps`, as `x86-64-v3`; None for any CPU."""


def read_cache(content: bytes) -> tuple[CachedLibrary, ...]:
    """The libraries in *content*, in its order. Raises BadContent for what isn't such a cache."""
    start = content.find(_MAGIC)
    if start < 0:
        raise BadContent("not a cache of glibc's loader")
    content = content[start:]
    try:
        _, count, _, _, extension = _HEADER.unpack_from(content)
        if count > _MOST_ENTRIES:
            raise BadContent("not a cache of glibc's loader: it says that it has too many entries")
        subdirectories = _hwcap_names(content, extension)
        return tuple(_library(content, number, subdirectories) for number in range(count))
    except (struct.error, IndexError, ValueError) as error:
        raise BadContent(f"a damaged cache of glibc's loader: {error}") from error


def with_libraries(content: bytes, libraries: Sequence[CachedLibrary]) -> bytes:
    """*content* with *libraries*, which come before those of the same name. Empty content is a cache without entries."""
    every = [*libraries, *(read_cache(content) if content else ())]
    falling = cmp_to_key(compare_names)
    # sorted() is stable also in reverse, so that the first of two equal names stays the first.
    return write_cache(sorted(every, key=lambda one: falling(one.name), reverse=True))


def write_cache(libraries: Sequence[CachedLibrary]) -> bytes:
    """A cache with *libraries*, which are in the order that the loader's search needs."""
    subdirectories = sorted({one.subdirectory for one in libraries if one.subdirectory is not None})
    strings, places = bytearray(), dict[str, int]()
    strings_at = _HEADER.size + _ENTRY.size * len(libraries)

    def place(text: str) -> int:
        if text not in places:
            places[text] = strings_at + len(strings)
            strings.extend(text.encode("utf-8", "surrogateescape") + b"\0")
        return places[text]

    entries = bytearray()
    for one in libraries:
        hwcap = one.hwcap if one.subdirectory is None else _HWCAP_EXTENSION | subdirectories.index(one.subdirectory)
        entries += _ENTRY.pack(one.flags, place(one.name), place(one.path), one.os_version, hwcap)
    names = [place(name) for name in subdirectories]
    extension = -(-(strings_at + len(strings)) // 4) * 4 if names else 0
    header = _HEADER.pack(_MAGIC, len(libraries), len(strings), _LITTLE_ENDIAN, extension)
    whole = bytes(header + entries + strings)
    if not names:
        return whole
    body = struct.pack(f"<{len(names)}I", *names)
    section = struct.pack("<II4I", _EXTENSION_MAGIC, 1, _HWCAPS, 0, extension + 24, len(body))
    return whole.ljust(extension, b"\0") + section + body


def _library(content: bytes, number: int, subdirectories: Sequence[str]) -> CachedLibrary:
    flags, key, value, os_version, hwcap = _ENTRY.unpack_from(content, _HEADER.size + _ENTRY.size * number)
    named = bool(hwcap & _HWCAP_EXTENSION)
    return CachedLibrary(
        name=_text(content, key),
        path=_text(content, value),
        flags=flags,
        os_version=os_version,
        hwcap=0 if named else hwcap,
        subdirectory=subdirectories[hwcap & _HWCAP_INDEX] if named else None,
    )


def _hwcap_names(content: bytes, extension: int) -> list[str]:
    if extension == 0:
        return []
    magic, sections = struct.unpack_from("<II", content, extension)
    if magic != _EXTENSION_MAGIC:
        return []
    for number in range(min(sections, 64)):
        tag, _, offset, size = struct.unpack_from("<4I", content, extension + 8 + 16 * number)
        if tag == _HWCAPS:
            return [_text(content, place) for place in struct.unpack_from(f"<{size // 4}I", content, offset)]
    return []


def _text(content: bytes, start: int) -> str:
    return content[start : content.index(b"\0", start, start + 4096)].decode("utf-8", "surrogateescape")


def compare_names(left: str, right: str) -> int:
    """The order of the loader's search (_dl_cache_libcmp): by character, runs of digits as numbers."""
    ours, theirs = re.findall(r"[0-9]+|.", left, re.DOTALL), re.findall(r"[0-9]+|.", right, re.DOTALL)
    for one, other in zip(ours, theirs, strict=False):
        if one == other:
            continue
        digits = one[0] in _DIGITS, other[0] in _DIGITS
        if all(digits):
            if int(one) != int(other):
                return -1 if int(one) < int(other) else 1
            continue
        if any(digits):
            return 1 if digits[0] else -1
        return -1 if one < other else 1
    return (len(ours) > len(theirs)) - (len(ours) < len(theirs))
