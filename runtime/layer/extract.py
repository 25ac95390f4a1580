"""A tar stream from outside becomes a directory and its manifest. The stream is data and is never obeyed.

Every path is resolved inside the target by the kernel (openat2, RESOLVE_IN_ROOT), so `..` and links stop at the target as they
stop at `/`. Refused, since no honest layer has them and readers disagree about them: `..` in a name, one path twice, a hard link
to what is no file of this layer, content where none belongs, overlayfs's own marks, a stream that just ends. Files are made
0600 by exclusive creation, never written through something that is there; owners, modes and xattrs go into the manifest, and
`runtime.store.layer_files` brings the directory in line. Device nodes are never made: they are in the manifest only.

The stream is read once: it is hashed, recorded (`stream_record.py`) and unpacked as it comes.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from runtime.errors import BadContent, StoreError
from runtime.kernel.safe_open import make_directories, open_in_root
from runtime.layer import tar_format
from runtime.layer.archive import OPAQUE_NAME, WHITEOUT_PREFIX, TreeDigest
from runtime.layer.compression import ByteStream
from runtime.layer.stream_record import StreamRecorder
from runtime.layer.tar_reader import read_header
from runtime.layer.tar_source import ReadAhead, TarSource
from runtime.layer.tree import EntryType, Tree, TreeEntry, is_layer_xattr, is_overlay_xattr, printable
from runtime.light_dataclasses import dataclass, replace
from runtime.oci.digest import Digest

_MAX_ID = (1 << 32) - 2
_MAX_MTIME_S = (1 << 33) - 1
"""ext4 holds no later one."""


@dataclass(frozen=True, slots=True)
class ExtractLimits:
    """What a layer may cost. The defaults are far above honest layers."""

    entries: int = 2_000_000
    names_bytes: int = 256 << 20
    """All names, link targets and xattrs together: they are kept in memory."""
    content_bytes: int | None = None
    """All files together, with the holes of sparse ones, which are hashed as zeros. None: what the file system has free."""
    path_bytes: int = 4095
    spare_bytes: int = 256 << 20
    """The file system keeps at least this much free."""


@contextmanager
def failures_of(what: str) -> Iterator[None]:
    """A failure of the body says that it is *what* that has it: which layer of which image, or which step's archive."""
    try:
        yield
    except (BadContent, StoreError) as error:
        said = error.message
        error.message = f"{what} {said.removeprefix('layer ')}" if said.startswith("layer ") else f"{what}: {said}"
        error.args = (error.message,)
        raise


FileDone = Callable[[int, TreeEntry], None]
"""Told the descriptor of each new regular file, when its content is there."""


def extract(stream: ByteStream, target: Path, *, limits: ExtractLimits | None = None) -> Tree:
    """Unpack the uncompressed tar *stream* into the empty directory *target*; the layer's manifest, mtimes kept.

    Raises BadContent when the stream is malformed or hostile. *target* is then in an undefined, harmless state.
    """
    return _extract(TarSource(stream, None), target, limits or ExtractLimits(), None)


def extract_recorded(
    stream: ByteStream,
    target: Path,
    record: Path,
    *,
    diff_id: str,
    file_done: FileDone | None = None,
) -> TreeDigest:
    """`extract`, with a record of the stream in the new file *record*. The whole stream must have digest *diff_id*; raises
    BadContent when it hasn't."""
    with open(record, "xb") as file, ReadAhead(stream) as ahead:
        recorder = StreamRecorder(file)
        tree = _extract(TarSource(ahead, recorder), target, ExtractLimits(), file_done)
        if ahead.digest != diff_id:
            raise BadContent(f"layer unpacks to a stream with digest `{ahead.digest}`, but the image says `{diff_id}`")
        recorder.close()
        return TreeDigest(Digest(ahead.digest), ahead.size, tree)


def _extract(source: TarSource, target: Path, limits: ExtractLimits, file_done: FileDone | None) -> Tree:
    descriptor = os.open(target, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        extraction = _Extraction(source, descriptor, os.path.realpath(target), limits, file_done)
        try:
            return extraction.run()
        finally:
            extraction.close()
    finally:
        os.close(descriptor)


class _Extraction:
    """One run of `extract`."""

    def __init__(self, source: TarSource, root_fd: int, root: str, limits: ExtractLimits, file_done: FileDone | None) -> None:
        self._source = source
        self._root_fd = root_fd
        self._root = root
        self._limits = limits
        self._file_done = file_done
        self._entries: dict[str, TreeEntry] = {}
        self._whiteouts: set[str] = set()
        self._opaque: set[str] = set()
        self._parent: tuple[str, int, str] | None = None
        self._room = _Room(root_fd, limits)
        self._links = False

    def run(self) -> Tree:
        while (header := read_header(self._source.raw, take_sparse=True)) is not None:
            self._room.take_entry(header)
            self._take(header)
        self._source.expect_only_zeros()
        self._hide()
        return Tree.of(self._entries.values())

    def close(self) -> None:
        if self._parent is not None:
            os.close(self._parent[1])
            self._parent = None

    def _take(self, header: tar_format.Header) -> None:
        path = self._path(header.name)
        if path == "":
            if header.type != tar_format.DIRECTORY:
                raise BadContent("tar entry for the root directory is not a directory")
            return
        parent, _, name = path.rpartition("/")
        directory, parent = self._directory(parent)
        path = f"{parent}/{name}" if parent else name
        if name.startswith(WHITEOUT_PREFIX):
            self._take_whiteout(header, parent, name)
            return
        known = self._entries.get(path)
        if known is not None and not (known.type == "dir" and header.type == tar_format.DIRECTORY):
            raise BadContent(f"two entries for `{printable(path)}` in one layer")
        try:
            self._entries[path] = self._make(header, path, directory, name)
        except FileExistsError as error:
            raise BadContent(f"tar entry `{printable(path)}` is at a path that is something else already") from error

    def _path(self, raw: bytes) -> str:
        """*raw* relative to the root. A leading `/` is dropped, as every extractor does (kaniko writes such names)."""
        if b"\0" in raw or len(raw) > self._limits.path_bytes:
            raise BadContent(f"tar entry has an impossible name: {raw[:80]!r}")
        parts = [part for part in os.fsdecode(raw).split("/") if part not in ("", ".")]
        if ".." in parts:
            raise BadContent(f"tar entry `{printable(os.fsdecode(raw))}` has `..` in its name")
        if len(raw) > 255 and any(len(os.fsencode(part)) > 255 for part in parts):
            raise BadContent(f"tar entry has a name of more than 255 bytes: {raw[:80]!r}")
        return "/".join(parts)

    def _directory(self, path: str) -> tuple[int, str]:
        """(descriptor, real path below the root) of the directory *path*, made where missing."""
        if self._parent is not None and self._parent[0] == path:
            return self._parent[1], self._parent[2]
        try:
            descriptor, made = self._opened_directory(path)
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EMFILE):
                raise
            raise BadContent(f"tar entry lies below `{printable(path)}`, which is no directory") from error
        # The real path differs only where a link of this layer is on the way; asking the kernel costs a call.
        real = path
        if self._links:
            real = os.readlink(f"/proc/self/fd/{descriptor}")[len(self._root) :].lstrip("/")
        self.close()
        self._parent = (path, descriptor, real)
        for each in made if real == path else _prefixes(real):
            self._entries.setdefault(each, TreeEntry(each, "dir", 0o755))
        return descriptor, real

    def _opened_directory(self, path: str) -> tuple[int, list[str]]:
        try:
            return open_in_root(self._root_fd, path or ".", os.O_PATH | os.O_DIRECTORY), []
        except FileNotFoundError:
            return make_directories(self._root_fd, path)

    def _make(self, header: tar_format.Header, path: str, directory: int, name: str) -> TreeEntry:
        kind = header.type
        if kind == tar_format.FILE:
            return self._file(header, path, directory, name)
        if kind == tar_format.DIRECTORY:
            if path not in self._entries:
                os.mkdir(name, 0o700, dir_fd=directory)
            return self._entry(header, path, "dir")
        if kind == tar_format.SYMLINK:
            if not header.link or b"\0" in header.link or len(header.link) > self._limits.path_bytes:
                raise BadContent(f"symbolic link `{printable(path)}` has an impossible target")
            os.symlink(header.link, name, dir_fd=directory)
            self._links = True
            return self._entry(header, path, "symlink", link=os.fsdecode(header.link))
        if kind == tar_format.HARDLINK:
            return self._link(header, path, directory, name)
        if kind == tar_format.FIFO:
            os.mkfifo(name, 0o600, dir_fd=directory)
            return self._entry(header, path, "fifo")
        if kind in (tar_format.CHAR, tar_format.BLOCK_DEVICE):
            if header.device == (0, 0) and kind == tar_format.CHAR:
                raise BadContent(f"`{printable(path)}` is a 0/0 device, overlayfs's own form of a deletion")
            return self._entry(header, path, "char" if kind == tar_format.CHAR else "block", device=header.device)
        raise BadContent(f"tar entry `{printable(path)}` is of unknown type {kind!r}")

    def _entry(
        self,
        header: tar_format.Header,
        path: str,
        kind: EntryType,
        *,
        link: str = "",
        size: int = 0,
        sha256: str = "",
        device: tuple[int, int] | None = None,
    ) -> TreeEntry:
        for name, _ in header.xattrs:
            if is_overlay_xattr(name):
                raise BadContent(f"`{printable(path)}` has the xattr `{name}`, which only overlayfs itself may set")
        kept = tuple((name, value) for name, value in header.xattrs if is_layer_xattr(name) and kind in ("file", "dir"))
        mode = 0o777 if kind == "symlink" else header.mode
        if max(header.uid, header.gid) > _MAX_ID:
            raise BadContent(f"`{printable(path)}` belongs to {header.uid}:{header.gid}, which no system can have")
        mtime = min(max(header.mtime, 0), _MAX_MTIME_S)
        return TreeEntry(path, kind, mode, header.uid, header.gid, mtime, kept, device, link, size, sha256)

    def _file(self, header: tar_format.Header, path: str, directory: int, name: str) -> TreeEntry:
        self._room.take_content(header)
        descriptor = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600, dir_fd=directory)
        try:
            if header.segments is None:
                digest = self._source.write_whole(descriptor, path, header.size)
            else:
                digest = self._source.write_parts(descriptor, path, header.size, header.segments)
            entry = self._entry(header, path, "file", size=header.size, sha256=digest)
            if self._file_done is not None:
                self._file_done(descriptor, entry)
        finally:
            os.close(descriptor)
        return entry

    def _link(self, header: tar_format.Header, path: str, directory: int, name: str) -> TreeEntry:
        target = self._path(header.link)
        known = self._entries.get(target)
        if known is None or known.type not in ("file", "hardlink", "symlink"):
            raise BadContent(f"hard link `{printable(path)}` to `{printable(target)}`, which is no file of this layer")
        if known.type == "symlink":
            os.symlink(known.link, name, dir_fd=directory)
            self._links = True
            return TreeEntry(path, "symlink", known.mode, known.uid, known.gid, known.mtime, link=known.link)
        # *target* was made by us at this very path and nothing on the way to it can have become a link since.
        os.link(target, name, src_dir_fd=self._root_fd, dst_dir_fd=directory, follow_symlinks=False)
        return TreeEntry(path, "hardlink", link=known.link if known.type == "hardlink" else target)

    def _take_whiteout(self, header: tar_format.Header, parent: str, name: str) -> None:
        if header.type != tar_format.FILE or header.size:
            raise BadContent(f"deletion mark `{printable(name)}` in `{printable(parent)}` is not an empty file")
        if name == OPAQUE_NAME:
            if parent:
                self._opaque.add(parent)
            else:
                raise BadContent("layer replaces the root directory (`.wh..wh..opq` at its top)")
            return
        hidden = name[len(WHITEOUT_PREFIX) :]
        if hidden.startswith(WHITEOUT_PREFIX):
            # `.wh..wh.plnk` and the like: aufs's own book-keeping, found in old images; Docker leaves it out as well.
            return
        if hidden in ("", ".", ".."):
            raise BadContent(f"deletion mark `{printable(name)}` in `{printable(parent)}` names no file")
        self._whiteouts.add(f"{parent}/{hidden}" if parent else hidden)

    def _hide(self) -> None:
        """Deletions concern the layers below: what this layer itself has at such a path stays."""
        for path in self._whiteouts:
            there = self._entries.get(path)
            if there is None:
                parent, _, name = path.rpartition("/")
                directory, _ = self._directory(parent)
                os.mknod(name, 0o20000, 0, dir_fd=directory)
                self._entries[path] = TreeEntry(path, "whiteout")
            elif there.type == "dir":
                self._opaque.add(path)
        for path in self._opaque:
            there = self._entries.get(path) or TreeEntry(path, "dir", 0o755)
            if there.type != "dir":
                raise BadContent(f"`{printable(path)}` is marked as a replaced directory and is none")
            self._entries[path] = replace(there, opaque=True)


class _Room:
    """What may still come: the limits' entries and bytes, and those that the file system has to spare."""

    def __init__(self, descriptor: int, limits: ExtractLimits) -> None:
        free = os.fstatvfs(descriptor)
        self._limits = limits
        self._entries = limits.entries
        self._names = limits.names_bytes
        self._free = free.f_bavail * free.f_frsize - limits.spare_bytes
        self._most = max(self._free, 0) if limits.content_bytes is None else limits.content_bytes
        self._allowed = self._most

    def take_entry(self, header: tar_format.Header) -> None:
        self._entries -= 1
        if self._entries < 0:
            raise BadContent(f"layer has more than {self._limits.entries} entries")
        self._names -= len(header.name) + len(header.link) + sum(len(name) + len(value) for name, value in header.xattrs)
        if self._names < 0:
            raise BadContent(f"layer has more than {self._limits.names_bytes} bytes of names, links and attributes")

    def take_content(self, header: tar_format.Header) -> None:
        """Make room for the file of *header*; what a sparse file leaves out takes no place on the disk, but time."""
        self._allowed -= header.size
        self._free -= header.size if header.segments is None else sum(length for _, length in header.segments)
        if self._allowed < 0 and (self._free >= 0 or self._limits.content_bytes is not None):
            raise BadContent(f"layer unpacks to more than the {self._most} bytes that this one may have")
        if self._free < 0:
            raise StoreError(
                f"layer unpacks to more than fits on the disk, of which {self._limits.spare_bytes >> 20} MiB stay free",
                hint="`launch gc` frees what no image needs, LAUNCH_HOME moves the store to another disk",
            )


def _prefixes(path: str) -> list[str]:
    parts = path.split("/") if path else []
    return ["/".join(parts[: end + 1]) for end in range(len(parts))]
