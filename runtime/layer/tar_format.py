"""The tar format, both ways, as strict as a hash: one entry has one encoding, and what is malformed is refused.

Written: ustar headers (POSIX.1-1988), a PAX extended header (POSIX.1-2001) where a value doesn't fit, xattrs as
`SCHILY.xattr.NAME` (star, libarchive, Go). Read: those, GNU long names and base-256 numbers; not sparse files, not v7.
The standard library's `tarfile` is not used: it takes a damaged header for the end of the archive and returns what it has.
Which entries may exist in a layer, and where they may lie, is `extract.py`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from runtime.errors import BadContent

BLOCK = 512
END = bytes(2 * BLOCK)
_MAX_EXTENSION = 1 << 20
"""A PAX header or GNU long name above one MiB is an attempt to fill memory."""

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
    back = kind + link.ljust(100, b"\0") + b"ustar\00000" + bytes(64) + b"%07o\0%07o\0" % device + prefix.ljust(155, b"\0")
    checksum = sum(front) + 8 * 32 + sum(back)
    return front + b"%06o\0 " % checksum + back + bytes(12)


def _record(keyword: bytes, value: bytes) -> bytes:
    """`LENGTH keyword=value\\n`, where LENGTH counts itself."""
    rest = len(keyword) + len(value) + 3
    length = rest + len(str(rest))
    if len(str(length)) != len(str(rest)):
        length = rest + len(str(length))
    return b"%d %s=%s\n" % (length, keyword, value)


Reader = Callable[[int], bytes]
"""Reads exactly that many bytes, or raises BadContent at the end of the stream."""


def read_header(read: Reader) -> Header | None:
    """The next entry, with its extensions taken in; None at the end marker. The content follows in the stream."""
    extended: dict[bytes, bytes] = {}
    long_name: bytes | None = None
    long_link: bytes | None = None
    while True:
        block = read(BLOCK)
        if block == bytes(BLOCK):
            if extended or long_name is not None or long_link is not None:
                raise BadContent("tar archive ends after an extended header")
            return None
        kind = _checked_type(block)
        if kind in b"xgLK":
            body = _extension(block, read)
            if kind == b"x":
                extended.update(_parse_records(body))
            elif kind == b"L":
                long_name = body.rstrip(b"\0")
            elif kind == b"K":
                long_link = body.rstrip(b"\0")
            # A global header (git archive writes one with the commit's id) names no entry and says nothing about files.
            continue
        return _entry(block, kind, extended, long_name, long_link)


def _checked_type(block: bytes) -> bytes:
    stored = _number(block[148:156], "checksum")
    unsigned = sum(block[:148]) + 8 * 32 + sum(block[156:])
    if stored != unsigned:
        raise BadContent("tar header has a wrong checksum: the archive is damaged")
    kind = block[156:157]
    return FILE if kind in (b"\0", b"7") else kind


def _extension(block: bytes, read: Reader) -> bytes:
    size = _number(block[124:136], "size")
    if size > _MAX_EXTENSION:
        raise BadContent(f"tar extended header of {size} bytes: more than {_MAX_EXTENSION} is not taken")
    body = read(size)
    read(-size % BLOCK)
    return body


def _entry(block: bytes, kind: bytes, extended: dict[bytes, bytes], long_name: bytes | None, long_link: bytes | None) -> Header:
    name = block[:100].split(b"\0", 1)[0]
    if block[257:263] == b"ustar\0":
        prefix = block[345:500].split(b"\0", 1)[0]
        if prefix:
            name = prefix + b"/" + name
    if any(keyword.startswith(b"GNU.sparse.") for keyword in extended):
        raise BadContent("tar archive holds a sparse file", hint="make it without `--sparse`")
    name = extended.get(b"path", long_name if long_name is not None else name)
    link = extended.get(b"linkpath", long_link if long_link is not None else block[157:257].split(b"\0", 1)[0])
    if kind == DIRECTORY or (kind == FILE and name.endswith(b"/")):
        kind = DIRECTORY
    prefix_length = len(b"SCHILY.xattr.")
    xattrs = {
        keyword[prefix_length:].decode("utf-8", "surrogateescape"): value
        for keyword, value in extended.items()
        if keyword.startswith(b"SCHILY.xattr.")
    }
    size = _decimal(extended, b"size", _number(block[124:136], "size"))
    return Header(
        name,
        kind,
        _number(block[100:108], "mode") & 0o7777,
        _decimal(extended, b"uid", _number(block[108:116], "uid")),
        _decimal(extended, b"gid", _number(block[116:124], "gid")),
        size if kind == FILE else _no_content(size, kind, name),
        _decimal(extended, b"mtime", _number(block[136:148], "mtime"), negative=True),
        link,
        (_number(block[329:337], "device"), _number(block[337:345], "device")) if kind in (CHAR, BLOCK_DEVICE) else (0, 0),
        tuple(sorted(xattrs.items())),
    )


def _no_content(size: int, kind: bytes, name: bytes) -> int:
    # Some writers give a hard link the size of its file, without content; directories may have one from the file system.
    # Readers disagree on whether data follows, so an archive can hide entries in it.
    if size:
        shown = name.decode("utf-8", "backslashreplace")
        raise BadContent(f"tar entry `{shown}` of type {kind!r} claims {size} bytes of content")
    return 0


def _number(field_bytes: bytes, what: str) -> int:
    """An octal number, or GNU's base-256 one (top bit set)."""
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
    if not all(0x30 <= digit <= 0x37 for digit in digits):
        raise BadContent(f"tar header has a malformed {what}: {field_bytes!r}")
    return int(digits, 8)


def _decimal(extended: dict[bytes, bytes], keyword: bytes, otherwise: int, *, negative: bool = False) -> int:
    text = extended.get(keyword)
    if text is None or text == b"":
        return otherwise
    whole = text.split(b".", 1)[0] if keyword == b"mtime" else text
    if not whole.removeprefix(b"-" if negative else b"").isdigit() or len(whole) > 20:
        raise BadContent(f"tar extended header has a malformed `{keyword.decode()}`: {text[:40]!r}")
    return int(whole)


def _parse_records(body: bytes) -> dict[bytes, bytes]:
    records: dict[bytes, bytes] = {}
    position = 0
    while position < len(body):
        space = body.find(b" ", position, position + 12)
        length = body[position:space]
        if space < 0 or not length.isdigit():
            raise BadContent("tar extended header has a malformed record length")
        end = position + int(length)
        if end > len(body) or end <= space + 1 or body[end - 1 : end] != b"\n":
            raise BadContent("tar extended header has a record that doesn't end where it says")
        keyword, equals, value = body[space + 1 : end - 1].partition(b"=")
        if not equals or not keyword:
            raise BadContent("tar extended header has a record without a keyword")
        records[keyword] = value
        position = end
    return records
