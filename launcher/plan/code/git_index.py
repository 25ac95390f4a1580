"""Tell from git's index, without git, whether the work tree differs from HEAD.

Format: gitformat-index(5), versions 2 to 4. Needed where git is not installed or refuses the repository of another user.
Errs to "dirty": content filters (line endings, LFS) are not applied, and what is staged counts as committed only when the
cached tree of the root is valid, which `git commit` leaves so and `git add` does not.
"""

from __future__ import annotations

import hashlib
import os
import stat
import struct
from pathlib import Path

from runtime.light_dataclasses import dataclass

_SKIP_WORKTREE = 0x4000
_EXTENDED = 0x4000
_GITLINK = 0o160000


class _UnknownIndex(Exception):
    """An index that this reader does not know (split index, sparse directories, SHA-256)."""


@dataclass(frozen=True, slots=True)
class _Entry:
    path: bytes
    mode: int
    size: int
    mtime_s: int
    mtime_ns: int
    object_id: bytes
    absent: bool
    """Not expected in the work tree (sparse checkout)."""


def tracked_files(git_directory: str) -> set[str] | None:
    """Names that the index holds, relative to the top; None when it cannot be read."""
    try:
        return {os.fsdecode(entry.path) for entry in _read_index(git_directory)[0]}
    except (_UnknownIndex, OSError, struct.error, IndexError):
        return None


def differs(git_directory: str, top: str) -> bool:
    """Whether a tracked file of the work tree *top* differs from the index, or the index perhaps from HEAD."""
    try:
        entries, extensions = _read_index(git_directory)
        return not _cached_tree_is_valid(extensions) or any(_entry_differs(entry, top) for entry in entries)
    except (_UnknownIndex, OSError, struct.error, IndexError):
        return True


def _read_index(git_directory: str) -> tuple[list[_Entry], bytes]:
    """The entries, and the extensions behind them."""
    content = Path(git_directory, "index").read_bytes()
    signature, version, count = struct.unpack_from(">4sII", content)
    if signature != b"DIRC" or version not in (2, 3, 4):
        raise _UnknownIndex
    entries: list[_Entry] = []
    at = 12
    for _ in range(count):
        entry, at = _entry_at(content, at, version, entries[-1].path if entries else b"")
        entries.append(entry)
    return entries, content[at:-20]  # the rest is a checksum


def _entry_at(content: bytes, start: int, version: int, previous: bytes) -> tuple[_Entry, int]:
    _, _, mtime_s, mtime_ns, _, _, mode, _, _, size = struct.unpack_from(">10I", content, start)
    object_id = content[start + 40 : start + 60]
    (flags,) = struct.unpack_from(">H", content, start + 60)
    at = start + 62
    extended = 0
    if flags & _EXTENDED and version >= 3:
        (extended,) = struct.unpack_from(">H", content, at)
        at += 2
    if version == 4:
        strip, at = _variable_width(content, at)
        end = content.index(b"\0", at)
        path = previous[: len(previous) - strip] + content[at:end]
        after = end + 1
    else:
        end = content.index(b"\0", at)
        path = content[at:end]
        # One to eight NULs pad the entry to a multiple of eight bytes.
        after = start + (end - start + 8) // 8 * 8
    if stat.S_IFMT(mode) == stat.S_IFDIR:
        raise _UnknownIndex
    absent = bool(extended & _SKIP_WORKTREE)
    return _Entry(path, mode, size, mtime_s, mtime_ns, object_id, absent), after


def _variable_width(content: bytes, at: int) -> tuple[int, int]:
    """The offset encoding of pack files (gitformat-pack(5))."""
    byte = content[at]
    value = byte & 0x7F
    while byte & 0x80:
        at += 1
        byte = content[at]
        value = ((value + 1) << 7) | (byte & 0x7F)
    return value, at + 1


def _cached_tree_is_valid(extensions: bytes) -> bool:
    """Whether the TREE extension has a valid entry for the root: then the index is a tree that git wrote."""
    while extensions:
        signature, length = struct.unpack_from(">4sI", extensions)
        body, extensions = extensions[8 : 8 + length], extensions[8 + length :]
        if signature == b"link":
            raise _UnknownIndex
        if signature == b"TREE":
            # Root entry: empty path, NUL, "<entry count> <subtrees>\n"; a count of -1 is an invalidated one.
            return not body[body.index(b"\0") + 1 :].startswith(b"-1")
    return False


def _entry_differs(entry: _Entry, top: str) -> bool:
    if entry.absent or stat.S_IFMT(entry.mode) == _GITLINK:
        return False
    path = os.path.join(top, os.fsdecode(entry.path))
    try:
        status = os.lstat(path)
    except FileNotFoundError:
        return True
    if stat.S_IFMT(status.st_mode) != stat.S_IFMT(entry.mode):
        return True
    if stat.S_ISREG(status.st_mode) and bool(status.st_mode & 0o100) != bool(entry.mode & 0o100):
        return True
    if status.st_size & 0xFFFFFFFF != entry.size:
        # A size of 0 may be a "racily clean" mark (racy-git.txt): then only the content tells.
        if entry.size != 0:
            return True
    elif (int(status.st_mtime), status.st_mtime_ns % 1_000_000_000) == (entry.mtime_s, entry.mtime_ns):
        return False
    content = os.fsencode(os.readlink(path)) if stat.S_ISLNK(status.st_mode) else Path(path).read_bytes()
    # Git names content by SHA-1; nothing here relies on it being hard to forge.
    return hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).digest() != entry.object_id
