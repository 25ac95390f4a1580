"""Owners that a build step set and that a user namespace with one id cannot hold: heard from the kernel, kept beside the files.

In such a namespace chown(2) of any id but 0 is EINVAL. The step's filter asks us instead (seccomp_unotify(2)); we find the file
that the caller means, note the owner on it, and let the call succeed. `runtime.layer.noted_owners` reads the notes into the
layer's manifest, so that a layer made without any privilege is the same as root's.

A note is the xattr NOTE of a file or directory: it is on the file itself, so it survives a rename, and writing it copies a file
of a lower layer up as chown would have. Links, fifos and devices can have no such xattr: their notes go to a list, by inode
number for what the step made (the upper directory's, which overlayfs shows as it is), by path for what was there before.

init runs this. It is in the container's own namespaces, and its root is the image's.
"""

from __future__ import annotations

import errno
import json
import os
import stat

from runtime.kernel import libc, seccomp_notify
from runtime.kernel.safe_open import RESOLVE_IN_ROOT, RESOLVE_NO_MAGICLINKS
from runtime.kernel.syscall_numbers import syscall_numbers
from runtime.layer.noted_owners import NOTE, owner_in
from runtime.light_dataclasses import dataclass, field

_UNCHANGED = 0xFFFFFFFF
_AT_SYMLINK_NOFOLLOW = 0x100
_AT_EMPTY_PATH = 0x1000
_PATH_MAX = 4096
_PAGE = 4096
_HIGHEST_ADDRESS = (1 << 63) - 1
_ROOM_FOR_IDS = 20

LARGEST_DOCUMENT = 1 << 26
"""Of `OwnerReports.document`, and what its reader takes."""


@dataclass(slots=True)
class OwnerReports:
    """The listener of one step's filter, and what was heard on it."""

    listener: int
    others: dict[int, tuple[str, int, int]] = field(default_factory=dict)
    """Inode number → (path, uid, gid), of what can have no xattr."""
    calls: dict[int, str] = field(default_factory=dict)
    room: int = LARGEST_DOCUMENT
    """Bytes that the list may still grow by: it is a hostile step's to fill."""

    def __post_init__(self) -> None:
        numbers = syscall_numbers(os.uname().machine) or {}
        self.calls = {numbers[name]: name for name in ("chown", "lchown", "fchown", "fchownat") if name in numbers}

    def serve(self) -> None:
        """Answer the question that made the listener readable."""
        question = seccomp_notify.receive(self.listener)
        if question is None:
            return
        try:
            file = self._file_of(question)
        except OSError as error:
            seccomp_notify.answer(self.listener, question, error.errno or errno.EIO)
            return
        try:
            if seccomp_notify.is_waiting(self.listener, question):
                self._note(file, *_owner_of(self.calls[question.number], question.arguments))
            seccomp_notify.answer(self.listener, question)
        except OSError as error:
            seccomp_notify.answer(self.listener, question, error.errno or errno.EIO)
        finally:
            os.close(file)

    def document(self) -> bytes:
        """The list, as `runtime.layer.noted_owners` takes it."""
        return json.dumps([[inode, *note] for inode, note in self.others.items()]).encode()

    def _file_of(self, question: seccomp_notify.Question) -> int:
        """An O_PATH descriptor of what the caller of *question* names."""
        call, arguments = self.calls[question.number], question.arguments
        process = f"/proc/{question.pid}"
        if call == "fchown":
            return os.open(f"{process}/fd/{_as_int(arguments[0])}", os.O_PATH | os.O_CLOEXEC)
        at, pointer, flags = libc.AT_FDCWD, arguments[0], 0
        if call == "fchownat":
            at, pointer, flags = _as_int(arguments[0]), arguments[1], arguments[4]
        path = _text_at(question.pid, pointer)
        if not path and flags & _AT_EMPTY_PATH:
            return os.open(_directory(process, at), os.O_PATH | os.O_CLOEXEC)
        if not path:
            raise FileNotFoundError(errno.ENOENT, "an empty path")
        follow = call != "lchown" and not flags & _AT_SYMLINK_NOFOLLOW
        return _open_as(process, at, path, os.O_PATH | (0 if follow else os.O_NOFOLLOW))

    def _note(self, file: int, uid: int, gid: int) -> None:
        """Remember the owner of *file*; an id of -1 stays what it was, noted or not."""
        location = f"/proc/self/fd/{file}"
        status = os.fstat(file)
        has_xattrs = stat.S_ISREG(status.st_mode) or stat.S_ISDIR(status.st_mode)
        known = self._known_owner(location, status.st_ino)
        owner = tuple(old if new == _UNCHANGED else new for old, new in zip(known, (uid, gid), strict=True))
        if stat.S_ISREG(status.st_mode):
            _clear_set_id(location, status.st_mode)
        if has_xattrs:
            try:
                os.setxattr(location, NOTE, f"{owner[0]}:{owner[1]}".encode())
                return
            except OSError as error:
                # ENOTSUP: the file system below has no user xattrs.
                if error.errno != errno.ENOTSUP:
                    raise
        # Copies it up where it is a lower layer's; times mean nothing in a layer.
        os.utime(location)
        self._list(status.st_ino, os.readlink(location).lstrip("/"), owner[0], owner[1])

    def _list(self, inode: int, path: str, uid: int, gid: int) -> None:
        if inode not in self.others:
            self.room -= len(json.dumps([inode, path, -1, -1])) + _ROOM_FOR_IDS
            if self.room < 0:
                raise OSError(errno.ENOSPC, "the list of owners is full")
        self.others[inode] = path, uid, gid

    def _known_owner(self, location: str, inode: int) -> tuple[int, int]:
        if inode in self.others:
            return self.others[inode][1:]
        try:
            note = os.getxattr(location, NOTE)
        except OSError:  # ENODATA: none so far; EPERM, ENOTSUP: there can be none
            return -1, -1
        return owner_in(note)


def _owner_of(call: str, arguments: tuple[int, ...]) -> tuple[int, int]:
    first = 2 if call == "fchownat" else 1
    return arguments[first] & _UNCHANGED, arguments[first + 1] & _UNCHANGED


def _as_int(argument: int) -> int:
    """The low half of a register as the kernel's `int`."""
    low = argument & 0xFFFFFFFF
    return low - (1 << 32) if low & 0x80000000 else low


def _directory(process: str, at: int) -> str:
    return f"{process}/cwd" if at == libc.AT_FDCWD else f"{process}/fd/{at}"


def _open_as(process: str, at: int, path: bytes, flags: int) -> int:
    """Open *path* as the caller would: from its root, or from its working directory or descriptor *at*."""
    start = f"{process}/root" if path.startswith(b"/") else _directory(process, at)
    directory = os.open(start, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        # A step that changed its root (chroot(2)) means paths below that one. And no link of /proc: /proc/self would be init,
        # whose descriptors are files of the host.
        resolve = RESOLVE_NO_MAGICLINKS | (RESOLVE_IN_ROOT if path.startswith(b"/") else 0)
        return libc.openat2(directory, path, flags | os.O_CLOEXEC, resolve=resolve)
    finally:
        os.close(directory)


def _text_at(pid: int, address: int) -> bytes:
    """The C string at *address* of process *pid*: read page by page, since the next page may not be there."""
    found = b""
    with open(f"/proc/{pid}/mem", "rb", buffering=0) as memory:
        while len(found) < _PATH_MAX:
            at = address + len(found)
            if at > _HIGHEST_ADDRESS:
                raise OSError(errno.EFAULT, "no such address")
            memory.seek(at)
            try:
                piece = memory.read(_PAGE - at % _PAGE)
            except OSError as error:
                raise OSError(errno.EFAULT, "nothing is mapped there") from error
            if not piece:
                raise ProcessLookupError(errno.ESRCH, "the caller has ended meanwhile")
            text, zero, _ = piece.partition(b"\0")
            found += text
            if zero:
                return found
    raise OSError(errno.ENAMETOOLONG, "a path without an end")


def _clear_set_id(location: str, mode: int) -> None:
    """A change of owner takes setuid away, and setgid from what its group may execute (chown(2))."""
    cleared = mode & ~stat.S_ISUID
    if mode & stat.S_IXGRP:
        cleared &= ~stat.S_ISGID
    if cleared != mode:
        os.chmod(location, stat.S_IMODE(cleared))
