"""Reading the tar format, strictly: what is malformed is refused, and what readers disagree about as well.

Read: ustar (POSIX.1-1988), PAX (POSIX.1-2001) with xattrs as `SCHILY.xattr.NAME`, GNU long names and base-256 numbers, and where
the caller can take them sparse files (`tar_sparse.py`). The standard library's `tarfile` is not used: it takes a damaged header
for the end of the archive and returns what it has. Writing is `tar_format.py`.
"""

from __future__ import annotations

from collections.abc import Callable

from runtime.errors import BadContent
from runtime.layer.tar_format import BLOCK, BLOCK_DEVICE, CHAR, DIRECTORY, FILE, Header, decode_number
from runtime.layer.tar_sparse import GNU_SPARSE, Records, SparseFile, gnu_sparse, pax_sparse

_MAX_EXTENSION = 1 << 20
"""A PAX header or GNU long name above one MiB is an attempt to fill memory."""
_MAX_EXTENSIONS = 4 << 20
"""The same for all extensions of one entry."""
_XATTR = b"SCHILY.xattr."
_EMPTY = bytes(BLOCK)

Reader = Callable[[int], bytes]
"""Reads exactly that many bytes, or raises BadContent at the end of the stream."""


def read_header(read: Reader, *, take_sparse: bool = False) -> Header | None:
    """The next entry, with its extensions taken in; None at the end marker. The content follows in the stream: `size` bytes, or
    with *take_sparse* those of `segments` where there are any. Without it a sparse file is refused."""
    records: list[tuple[bytes, bytes]] = []
    long_name: bytes | None = None
    long_link: bytes | None = None
    extensions = 0
    while True:
        block = read(BLOCK)
        if block == _EMPTY:
            if records or long_name is not None or long_link is not None:
                raise BadContent("tar archive ends after an extended header")
            return None
        kind = _check_type(block)
        if kind in b"xgLK":
            body = _extension(block, read, left=_MAX_EXTENSIONS - extensions)
            extensions += BLOCK + len(body)
            if kind == b"x":
                records += _parse_records(body)
            elif kind == b"L":
                long_name = body.rstrip(b"\0")
            elif kind == b"K":
                long_link = body.rstrip(b"\0")
            # A global header (git archive writes one with the commit's id) names no entry and says nothing about files.
            continue
        header = _entry(block, kind, records, (long_name, long_link), read)
        if header.segments is not None and not take_sparse:
            raise BadContent("tar archive holds a sparse file", hint="make it without `--sparse`")
        return header


def _check_type(block: bytes) -> bytes:
    stored = decode_number(block[148:156], "checksum")
    unsigned = sum(block) - sum(block[148:156]) + 8 * 32
    if stored != unsigned:
        raise BadContent("tar header has a wrong checksum: the archive is damaged")
    kind = block[156:157]
    return FILE if kind in (b"\0", b"7") else kind


def _extension(block: bytes, read: Reader, *, left: int) -> bytes:
    size = decode_number(block[124:136], "size")
    if size > _MAX_EXTENSION:
        raise BadContent(f"tar extended header of {size} bytes: more than {_MAX_EXTENSION} is not taken")
    if size > left:
        raise BadContent(f"tar entry has more than {_MAX_EXTENSIONS} bytes of extended headers")
    body = read(size)
    read(-size % BLOCK)
    return body


def _entry(block: bytes, kind: bytes, records: Records, long: tuple[bytes | None, bytes | None], read: Reader) -> Header:
    extended = dict(records)
    name = block[:100].partition(b"\0")[0]
    if block[257:263] == b"ustar\0":
        prefix = block[345:500].partition(b"\0")[0]
        if prefix:
            name = prefix + b"/" + name
    link = block[157:257].partition(b"\0")[0]
    if long != (None, None):
        name = name if long[0] is None else long[0]
        link = link if long[1] is None else long[1]
    size = _decimal(extended, b"size", decode_number(block[124:136], "size"))
    sparse = None
    xattrs: tuple[tuple[str, bytes], ...] = ()
    if extended or kind == GNU_SPARSE:
        name = extended.get(b"path", name)
        link = extended.get(b"linkpath", link)
        xattrs = _xattrs(extended)
        sparse = _sparse(block, kind, records, size, read)
        if sparse is not None:
            kind, size, name = FILE, sparse.size, sparse.name or name
    if kind == FILE and name.endswith(b"/"):
        kind = DIRECTORY
    if size and kind != FILE:
        # Some writers give a hard link the size of its file, without content; directories may have one from the file system.
        # Readers disagree on whether data follows, so an archive can hide entries in it.
        shown = name.decode("utf-8", "backslashreplace")
        raise BadContent(f"tar entry `{shown}` of type {kind!r} claims {size} bytes of content")
    return Header(
        name,
        kind,
        decode_number(block[100:108], "mode") & 0o7777,
        _decimal(extended, b"uid", decode_number(block[108:116], "uid")),
        _decimal(extended, b"gid", decode_number(block[116:124], "gid")),
        size,
        _decimal(extended, b"mtime", decode_number(block[136:148], "mtime"), negative=True),
        link,
        (decode_number(block[329:337], "device"), decode_number(block[337:345], "device"))
        if kind in (CHAR, BLOCK_DEVICE)
        else (0, 0),
        xattrs,
        None if sparse is None else sparse.segments,
    )


def _sparse(block: bytes, kind: bytes, records: Records, stored: int, read: Reader) -> SparseFile | None:
    if kind == GNU_SPARSE:
        return gnu_sparse(block, stored, read)
    return pax_sparse(records, stored, read) if kind == FILE else None


def _xattrs(extended: dict[bytes, bytes]) -> tuple[tuple[str, bytes], ...]:
    found = [
        (keyword[len(_XATTR) :].decode("utf-8", "surrogateescape"), value)
        for keyword, value in extended.items()
        if keyword.startswith(_XATTR)
    ]
    return tuple(sorted(found))


def _decimal(extended: dict[bytes, bytes], keyword: bytes, otherwise: int, *, negative: bool = False) -> int:
    text = extended.get(keyword)
    if text is None or text == b"":
        return otherwise
    whole = text.partition(b".")[0] if keyword == b"mtime" else text
    if not whole.removeprefix(b"-" if negative else b"").isdigit() or len(whole) > 20:
        raise BadContent(f"tar extended header has a malformed `{keyword.decode()}`: {text[:40]!r}")
    return int(whole)


def _parse_records(body: bytes) -> list[tuple[bytes, bytes]]:
    records: list[tuple[bytes, bytes]] = []
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
        records.append((keyword, value))
        position = end
    return records
