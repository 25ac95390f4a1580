"""A layer as a tar stream: from a manifest and its directory, the same bytes on every machine.

Order, owners, modes and mtimes come from the manifest; names of owners are empty; whiteouts take OCI's form. The stream is
made when something leaves the machine, or to learn its digest. Reading archives is `extract.py`.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from runtime.errors import StoreError
from runtime.layer import tar_format
from runtime.layer.in_order import in_order
from runtime.layer.tree import Tree, TreeEntry, printable
from runtime.light_dataclasses import dataclass, replace
from runtime.oci.digest import Digest

WHITEOUT_PREFIX = ".wh."
OPAQUE_NAME = ".wh..wh..opq"
_CHUNK = 1 << 20
_SMALL = 1 << 18

_TAR_TYPES = {
    "file": tar_format.FILE,
    "dir": tar_format.DIRECTORY,
    "symlink": tar_format.SYMLINK,
    "hardlink": tar_format.HARDLINK,
    "char": tar_format.CHAR,
    "block": tar_format.BLOCK_DEVICE,
    "fifo": tar_format.FIFO,
    "whiteout": tar_format.FILE,
}


EntryRead = tuple[TreeEntry, bytes | None]
"""An entry, and the content of its file where that was read and is small."""


@dataclass(frozen=True, slots=True)
class TreeDigest:
    """What the files of a layer tell."""

    diff_id: Digest
    """Digest of the tar stream."""
    size_bytes: int
    """Size of the tar stream."""
    tree: Tree
    """The tree, with every `sha256` filled in."""


def digest_tree(tree: Tree, root: Path) -> TreeDigest:
    """Digest of the tar stream of *tree*, whose contents lie below *root*. A small file is read once, for the stream and for its
    own digest; a large one for each.

    Raises StoreError when a file doesn't have the size or the sha256 that the tree says.
    """
    size = sum(entry.size for entry in tree)
    return digest_entries(in_order(lambda entry: _with_digest(entry, root), tree.entries, size_bytes=size), root)


def digest_entries(entries: Iterable[EntryRead], root: Path) -> TreeDigest:
    """The same for *entries*, sorted, whose files have their sha256: each has its content below *root* when it comes."""
    stream_hash = hashlib.sha256()
    size = 0
    taken: list[TreeEntry] = []
    for entry, content in entries:
        header = header_of(entry)
        stream_hash.update(header)
        size += len(header)
        if entry.type == "file":
            for chunk in _content(entry, root) if content is None else (content,):
                stream_hash.update(chunk)
            fill = tar_format.padding(entry.size)
            stream_hash.update(fill)
            size += entry.size + len(fill)
        taken.append(entry)
    stream_hash.update(tar_format.END)
    return TreeDigest(Digest(f"sha256:{stream_hash.hexdigest()}"), size + len(tar_format.END), Tree(tuple(taken)))


def _with_digest(entry: TreeEntry, root: Path) -> EntryRead:
    if entry.type != "file":
        return entry, None
    content_hash = hashlib.sha256()
    chunks = _content(entry, root)
    content = b"".join(chunks) if is_small(entry) else None
    for chunk in chunks if content is None else (content,):
        content_hash.update(chunk)
    found = content_hash.hexdigest()
    if not entry.sha256:
        return replace(entry, sha256=found), content
    if entry.sha256 != found:
        raise StoreError(f"`{printable(os.path.join(root, entry.path))}` has sha256 {found[:12]}…, not {entry.sha256[:12]}…")
    return entry, content


def is_small(entry: TreeEntry) -> bool:
    """Whether the content of a file may be passed on in memory, of which a few hundred lie there at a time."""
    return entry.size <= _SMALL


def tar_chunks(tree: Tree, root: Path) -> Iterator[bytes]:
    """The tar stream of a layer, in pieces."""
    yield from merged_tar_chunks((entry, root) for entry in tree)


def merged_tar_chunks(entries: Iterable[tuple[TreeEntry, Path]]) -> Iterator[bytes]:
    """The tar stream of *entries*, each with the directory that holds its content."""
    for entry, root in entries:
        yield header_of(entry)
        if entry.type == "file":
            yield from _content(entry, root)
            yield tar_format.padding(entry.size)
    yield tar_format.END


def header_of(entry: TreeEntry) -> bytes:
    """The header blocks of *entry*; with the opaque mark behind those of an opaque directory."""
    name = os.fsencode(entry.path)
    if entry.type == "whiteout":
        parent, slash, last = entry.path.rpartition("/")
        name = os.fsencode(f"{parent}{slash}{WHITEOUT_PREFIX}{last}")
    elif entry.type == "dir":
        name += b"/"
    block = tar_format.encode(
        tar_format.Header(
            name,
            _TAR_TYPES[entry.type],
            entry.mode,
            entry.uid,
            entry.gid,
            entry.size if entry.type == "file" else 0,
            entry.mtime,
            os.fsencode(entry.link),
            entry.device or (0, 0),
            entry.xattrs,
        )
    )
    if not entry.opaque:
        return block
    mark = tar_format.Header(name + OPAQUE_NAME.encode(), tar_format.FILE, mtime=entry.mtime)
    return block + tar_format.encode(mark)


def _content(entry: TreeEntry, root: Path) -> Iterator[bytes]:
    location = os.path.join(root, entry.path)
    try:
        descriptor = os.open(location, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as error:
        raise StoreError(f"cannot read `{printable(location)}`: {error.strerror}") from error
    try:
        left = entry.size
        while chunk := os.read(descriptor, min(_CHUNK, left + 1)):
            left -= len(chunk)
            if left < 0:
                break
            yield chunk
        if left != 0:
            raise StoreError(f"`{printable(location)}` doesn't have the {entry.size} bytes that its manifest says")
    finally:
        os.close(descriptor)
