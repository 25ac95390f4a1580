"""Read a .deb (deb(5)): an ar archive with `debian-binary`, `control.tar.*` and `data.tar.*`. Parsing only; see `unpack.py`.

Its hash was checked before, by a chain that ends at Debian's key; it is read strictly all the same.
"""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterator

from runtime.errors import BadContent, Unsupported
from runtime.light_dataclasses import dataclass

_MAGIC = b"!<arch>\n"
_HEADER = 60
_MOST_BYTES = 4 << 30
"""Of a control.tar or data.tar, which is held in memory; the largest of Debian's has half of it."""


@dataclass(frozen=True, slots=True)
class DebFile:
    """Both tar files of a .deb, uncompressed."""

    control: bytes
    data: bytes


def read_deb(content: bytes, *, name: str) -> DebFile:
    """The parts of .deb *content*; *name* is for the error."""
    members = _read_ar(content, name)
    if not members.get("debian-binary", b"").startswith(b"2."):
        raise BadContent(f"`{name}` is no .deb of format 2")
    parts: dict[str, bytes] = {}
    for member, packed in members.items():
        for part in ("control.tar", "data.tar"):
            if member == part or member.startswith(f"{part}."):
                parts[part] = _decompress(packed, member.removeprefix(part), name)
    if len(parts) != 2:
        raise BadContent(f"`{name}` has members {', '.join(f'`{one}`' for one in members)}, not a control.tar and a data.tar")
    return DebFile(parts["control.tar"], parts["data.tar"])


def stored_deb(deb: DebFile) -> Iterator[bytes]:
    """*deb* as a .deb without compression, which dpkg unpacks faster than we decompressed it in several threads."""
    yield _MAGIC
    for name, content in (("debian-binary", b"2.0\n"), ("control.tar", deb.control), ("data.tar", deb.data)):
        yield f"{name:<16}{0:<12}{0:<6}{0:<6}{'100644':<8}{len(content):<10}`\n".encode()
        yield content
        yield b"\n" * (len(content) & 1)


def _read_ar(content: bytes, name: str) -> dict[str, bytes]:
    if not content.startswith(_MAGIC):
        raise BadContent(f"`{name}` is no ar archive")
    members: dict[str, bytes] = {}
    offset = len(_MAGIC)
    while offset < len(content):
        header = content[offset : offset + _HEADER]
        size_field = header[48:58].strip()
        if len(header) != _HEADER or header[58:60] != b"`\n" or not size_field.isdigit():
            raise BadContent(f"`{name}` is damaged at byte {offset}")
        size = int(size_field)
        start = offset + _HEADER
        if start + size > len(content):
            raise BadContent(f"`{name}` ends in the middle of a member")
        members[header[:16].decode("ascii", "replace").strip().rstrip("/")] = content[start : start + size]
        offset = start + size + (size & 1)
    return members


def _decompress(packed: bytes, suffix: str, name: str) -> bytes:
    import lzma
    import zlib

    if suffix not in (".xz", ".gz", ""):
        raise Unsupported(f"`{name}` is compressed as `{suffix}`; Debian's own packages are xz or gz")
    plain = packed
    try:
        if suffix == ".xz":
            with lzma.open(io.BytesIO(packed)) as stream:
                plain = stream.read(_MOST_BYTES + 1)
        elif suffix == ".gz":
            decoder = zlib.decompressobj(wbits=31)
            plain = decoder.decompress(packed, _MOST_BYTES + 1)
            if not decoder.eof and len(plain) <= _MOST_BYTES:
                raise EOFError("it ends in the middle of its stream")
    except (lzma.LZMAError, zlib.error, EOFError) as error:
        raise BadContent(f"`{name}` is damaged: {error}") from error
    if len(plain) > _MOST_BYTES:
        raise BadContent(f"`{name}` unpacks to more than {_MOST_BYTES >> 30} GiB")
    return plain


def tar_members(tar: bytes, *, name: str) -> Iterator[tuple[tarfile.TarInfo, str, memoryview]]:
    """(header, path, content) of each member; the path has no leading `./` or `/` and no `..`; the root's is empty."""
    view = memoryview(tar)
    try:
        with tarfile.open(fileobj=io.BytesIO(tar), mode="r:") as archive:
            for member in archive:
                path = clean_path(member.name, name=name)
                yield member, path, view[member.offset_data : member.offset_data + (member.size if member.isreg() else 0)]
    except tarfile.TarError as error:
        raise BadContent(f"`{name}` holds a damaged tar: {error}") from error


def clean_path(path: str, *, name: str) -> str:
    """*path* relative and without `.` parts. Raises BadContent for one that would leave its root."""
    parts = [part for part in path.split("/") if part not in ("", ".")]
    if ".." in parts or "\0" in path or "\n" in path:
        raise BadContent(f"`{name}` holds path `{path!r}`, which is refused")
    return "/".join(parts)
