"""DT_SONAME of a shared library, read from the file (elf(5)); the loader looks for that name. No program is run."""

from __future__ import annotations

import errno
import struct
from pathlib import Path

_PT_LOAD, _PT_DYNAMIC = 1, 2
_DT_STRTAB, _DT_SONAME = 5, 14
_MANY = 4096
"""More segments and more tags than any real library has: where reading a damaged table ends."""


def read_soname(path: Path) -> str | None:
    """The SONAME of a 64-bit little-endian ELF file; None when it is something else, is damaged or has none."""
    try:
        return _soname(path)
    except (struct.error, ValueError, OverflowError):
        return None
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
        return None  # a table so far out that read(2) would pass the largest offset


def _soname(path: Path) -> str | None:
    with path.open("rb") as file:
        header = file.read(64)
        if header[:6] != b"\x7fELF\x02\x01":
            return None
        table_offset, entry_size, entries = struct.unpack_from("<Q", header, 32)[0], *struct.unpack_from("<HH", header, 54)
        file.seek(table_offset)
        segments = [struct.unpack_from("<IIQQQQ", file.read(entry_size)) for _ in range(min(entries, _MANY))]
        dynamic = next((segment for segment in segments if segment[0] == _PT_DYNAMIC), None)
        if dynamic is None:
            return None
        file.seek(dynamic[2])
        entries_read = file.read(min(dynamic[5], _MANY * 16))
        tags = dict(struct.iter_unpack("<QQ", entries_read[: len(entries_read) // 16 * 16]))
        if _DT_SONAME not in tags or _DT_STRTAB not in tags:
            return None
        address = tags[_DT_STRTAB] + tags[_DT_SONAME]
        for kind, _flags, offset, virtual, _physical, size in segments:
            if kind == _PT_LOAD and virtual <= address < virtual + size:
                file.seek(offset + address - virtual)
                return file.read(256).split(b"\0", 1)[0].decode("ascii", "replace")
    return None
