"""Members of a tar archive on this machine, found by one pass over its headers and read in place."""

from __future__ import annotations

import os
import posixpath
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, cast

from runtime.errors import BadContent
from runtime.layer import tar_format
from runtime.layer.compression import decompress, is_compressed
from runtime.layer.tar_reader import read_header
from runtime.layer.tree import printable
from runtime.oci.image_documents import DOCUMENT_LIMIT

_CHUNK = 1 << 18
_MOST_MEMBERS = 200_000
_SPARE = 256 << 20


class ArchiveMembers:
    """What is in the tar archive *file*, by name. *what* it is called in errors."""

    def __init__(self, file: BinaryIO, what: str) -> None:
        self._file = file
        try:
            self._found = _members(file)
        except BadContent as error:
            raise BadContent(f"`{what}` is no whole tar archive: {error.message}", hint=error.hint) from error

    def __contains__(self, name: str) -> bool:
        return name in self._found

    def size(self, name: str) -> int:
        return self._find(name)[1]

    def document(self, name: str) -> bytes:
        """Content of the small member *name*."""
        offset, size = self._find(name)
        if size > DOCUMENT_LIMIT:
            raise BadContent(f"member `{printable(name)}` has {size} bytes: more than {DOCUMENT_LIMIT} is not taken")
        return os.pread(self._file.fileno(), size, offset)

    @contextmanager
    def opened(self, name: str) -> Iterator[BinaryIO]:
        """Member *name* as a file; members can be read side by side."""
        offset, size = self._find(name)
        with open(os.dup(self._file.fileno()), "rb") as own:
            yield cast(BinaryIO, Part(own.fileno(), offset, size))

    def _find(self, name: str) -> tuple[int, int]:
        """(offset, size) of member *name*; a link (old Docker shares layers so) is followed once."""
        found = self._found.get(name)
        if isinstance(found, str):
            found = self._found.get(posixpath.normpath(posixpath.join(posixpath.dirname(name), found)))
        if not isinstance(found, tuple):
            raise BadContent(f"the archive has no member `{printable(name)}`, which another of its files names")
        return found


class Part:
    """A part of a file; read with pread(2), so that parts can be read side by side."""

    def __init__(self, descriptor: int, start: int, size: int) -> None:
        self._descriptor = descriptor
        self._start = start
        self._size = size
        self._position = 0

    def read(self, size: int = -1, /) -> bytes:
        left = self._size - self._position
        data = os.pread(self._descriptor, left if size < 0 else min(size, left), self._start + self._position)
        self._position += len(data)
        return data


@contextmanager
def plain_archive(path: Path, *, scratch: Path | None = None) -> Iterator[BinaryIO]:
    """The archive *path*, or a decompressed copy of it in *scratch*: members are found by seeking."""
    with open(path, "rb") as file:
        if not is_compressed(file):
            yield file
            return
        stream = decompress(file)
        with tempfile.TemporaryFile(dir=scratch) as plain:
            free = os.fstatvfs(plain.fileno())
            room = free.f_bavail * free.f_frsize - _SPARE
            while chunk := stream.read(_CHUNK):
                room -= len(chunk)
                if room < 0:
                    raise BadContent(f"`{path}` unpacks to more than fits on the disk, of which {_SPARE >> 20} MiB stay free")
                plain.write(chunk)
            plain.flush()
            yield cast(BinaryIO, plain)


def _members(file: BinaryIO) -> dict[str, tuple[int, int] | str]:
    """Name → (offset, size) of each file, or the target of each link."""
    file.seek(0, os.SEEK_END)
    end = file.tell()
    file.seek(0)

    def read(size: int) -> bytes:
        data = file.read(size)
        if len(data) != size:
            raise BadContent("the archive is truncated")
        return data

    members: dict[str, tuple[int, int] | str] = {}
    while (header := read_header(read)) is not None:
        name = posixpath.normpath(os.fsdecode(header.name))
        if len(members) > _MOST_MEMBERS:
            raise BadContent(f"the archive has more than {_MOST_MEMBERS} members")
        if header.type == tar_format.FILE:
            if name in members:
                raise BadContent(f"the archive has two members `{printable(name)}`")
            members[name] = (file.tell(), header.size)
            if file.tell() + header.size > end:
                raise BadContent(f"the archive is truncated in member `{printable(name)}`")
            file.seek(header.size + -header.size % tar_format.BLOCK, os.SEEK_CUR)
        elif header.type in (tar_format.SYMLINK, tar_format.HARDLINK):
            link = os.fsdecode(header.link)
            if not link:
                raise BadContent(f"the archive has a link `{printable(name)}` to nothing")
            # A hard link's target is a name of the archive, a symbolic link's is relative to the link.
            members[name] = link if header.type == tar_format.SYMLINK else posixpath.relpath(link, posixpath.dirname(name) or ".")
    return members
