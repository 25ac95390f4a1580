"""The tar format, as strict as a hash: one entry has one encoding.

Written: ustar headers (POSIX.1-1988), a PAX extended header (POSIX.1-2001) where a value doesn't fit, xattrs as
`SCHILY.xattr.NAME` (star, libarchive, Go). Reading is `tar_reader.py`; which entries may exist in a layer, and where they may
lie, is `extract.py`.
"""

from __future__ import annotations

from functools import lru_cache

from runtime.errors import BadContent
from runtime.light_dataclasses import dataclass, field

BLOCK = 512
END = bytes(2 * BLOCK)

FILE, HARDLINK, SYMLINK, CHAR, BLOCK_DEVICE, DIRECTORY, FIFO = b"0", b"1", b"2", b"3", b"4", b"5", b"6"


@dataclass(frozen=True, slots=True)
class Header:
    """One entry of a tar stream. Names are bytes, exactly as in the archive."""

    name: bytes
    type: bytes
    mode: int = 0
    uid: int = 0
    gid: int = 0
    size: int = 0
    mtime: int = 0
    link: bytes = b""
    device: tuple[int, int] = (0, 0)
    xattrs: tuple[tuple[str, bytes], ...] = field(default=())
    segments: tuple[tuple[int, int], ...] | None = None
    """Of a sparse file, (offset, length) of the parts that the stream holds; *size* is that of the whole file. Never written."""


def padding(size: int) -> bytes:
    """Zeros that fill up the last block of *size* bytes."""
    return bytes(-size % BLOCK)


def encode(header: Header) -> bytes:
    """The header blocks of one entry."""
    records: list[tuple[bytes, bytes]] = []
    name, prefix = _split(header.name)
    if name is None:
        records.append((b"path", header.name))
        name, prefix = header.name[:100], b""
    link = header.link
    if len(link) > 100 or not link.isascii():
        records.append((b"linkpath", link))
        link = link[:100]
    numbers = [(b"uid", header.uid, 7), (b"gid", header.gid, 7), (b"size", header.size, 11), (b"mtime", header.mtime, 11)]
    fields = []
    for keyword, value, width in numbers:
        if 0 <= value < 8**width:
            fields.append(b"%0*o\0" % (width, value))
        else:
            records.append((keyword, b"%d" % value))
            fields.append(b"0" * width + b"\0")
    records += [(b"SCHILY.xattr." + name.encode("utf-8", "surrogateescape"), value) for name, value in header.xattrs]
    block = _ustar(name, prefix, header.mode, fields, header.type, link, header.device)
    if not records:
        return block
    body = b"".join(_record(keyword, value) for keyword, value in sorted(records))
    numbers_of_extension = [b"0000000\0", b"0000000\0", b"%011o\0" % len(body), b"00000000000\0"]
    extension = _ustar(b"././@PaxHeader", b"", 0, numbers_of_extension, b"x", b"", (0, 0))
    return extension + body + padding(len(body)) + block


def _split(name: bytes) -> tuple[bytes | None, bytes]:
    """(name, prefix) as ustar holds them, or (None, b"") when it can't."""
    if not name.isascii():
        return None, b""
    if len(name) <= 100:
        return name, b""
    # The slash between the two is not stored, and neither part may be empty.
    cut = name.find(b"/", len(name) - 101)
    if 0 < cut <= 155 and 0 < len(name) - cut - 1 <= 100:
        return name[cut + 1 :], name[:cut]
    return None, b""


def _ustar(
    name: bytes, prefix: bytes, mode: int, fields: list[bytes], kind: bytes, link: bytes, device: tuple[int, int]
) -> bytes:
    uid, gid, size, mtime = fields
    front = name.ljust(100, b"\0") + b"%07o\0" % mode + uid + gid + size + mtime
    back, sum_of_back = _back(kind, link, device, prefix)
    return front + b"%06o\0 " % (sum(front) + 8 * 32 + sum_of_back) + back


@lru_cache(maxsize=64)
def _back(kind: bytes, link: bytes, device: tuple[int, int], prefix: bytes) -> tuple[bytes, int]:
    """What comes behind the checksum, the same for most files of a layer, and its sum."""
    back = kind + link.ljust(100, b"\0") + b"ustar\00000" + bytes(64) + b"%07o\0%07o\0" % device + prefix.ljust(155, b"\0")
    return back + bytes(12), sum(back)


def _record(keyword: bytes, value: bytes) -> bytes:
    """`LENGTH keyword=value\\n`, where LENGTH counts itself."""
    rest = len(keyword) + len(value) + 3
    length = rest + len(str(rest))
    if len(str(length)) != len(str(rest)):
        length = rest + len(str(length))
    return b"%d %s=%s\n" % (length, keyword, value)


def decode_number(field_bytes: bytes, what: str) -> int:
    """The number in a field: octal, or GNU's base-256 (top bit set)."""
    if field_bytes[0] & 0x80:
        value = int.from_bytes(field_bytes, "big") & ~(0x80 << 8 * (len(field_bytes) - 1))
        if field_bytes[0] & 0x40:
            value -= 1 << (8 * len(field_bytes) - 1)
            if what != "mtime":
                raise BadContent(f"tar header has a negative {what}")
        return value
    digits = field_bytes.strip(b" \0")
    if not digits:
        return 0
    try:
        if digits.isdigit():
            return int(digits, 8)
    except ValueError:
        pass  # 8 or 9
    raise BadContent(f"tar header has a malformed {what}: {field_bytes!r}")
