"""The files of a container over SFTP: the server's side of version 3 of the protocol (draft-ietf-secsh-filexfer-02), with three
of OpenSSH's extensions (PROTOCOL, section 4).

It is served by a child of init in the place of a program (`side_programs.py`): paths, rights, owners and limits are those of the
program, and the image needs neither a server nor Python. Nothing may be imported here later: `/` is the image's.
"""

from __future__ import annotations

import errno
import os
import stat
import struct
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import islice

from runtime.light_typing import NamedTuple
from runtime.whole_file import write_all

_VERSION = 3
_LARGEST = 1 << 18
"""Of a packet; OpenSSH's server takes as much."""
_NAMES_AT_ONCE = 100
_EXTENSIONS = (b"posix-rename@openssh.com", b"hardlink@openssh.com", b"fsync@openssh.com")

_INIT, _STATUS, _HANDLE, _DATA, _NAME, _ATTRS, _EXTENDED = 1, 101, 102, 103, 104, 105, 200
_OK, _EOF, _NO_SUCH_FILE, _PERMISSION_DENIED, _FAILURE, _BAD_MESSAGE, _UNSUPPORTED = 0, 1, 2, 3, 4, 5, 8
_SIZE, _OWNER, _MODE, _TIMES = 1, 2, 4, 8
_READ, _WRITE, _APPEND, _CREATE, _TRUNCATE, _EXCLUSIVE = 1, 2, 4, 8, 16, 32

_CODES = {
    errno.ENOENT: _NO_SUCH_FILE,
    errno.ENOTDIR: _NO_SUCH_FILE,
    errno.EACCES: _PERMISSION_DENIED,
    errno.EPERM: _PERMISSION_DENIED,
}


class _BadMessage(Exception):
    """A packet that ends too early, or names no open file."""


class _Attributes(NamedTuple):
    """What of a file is to be set; None: nothing."""

    size: int | None
    owner: tuple[int, int] | None
    mode: int | None
    times: tuple[int, int] | None


class _Packet:
    """What is left to read of a request."""

    def __init__(self, content: bytes) -> None:
        self._content, self._at = content, 0

    def number(self, form: str = ">I") -> int:
        try:
            (value,) = struct.unpack_from(form, self._content, self._at)
        except struct.error:
            raise _BadMessage from None
        self._at += struct.calcsize(form)
        return int(value)

    def text(self) -> bytes:
        end = self.number() + self._at
        if end > len(self._content):
            raise _BadMessage
        text, self._at = self._content[self._at : end], end
        return text

    def path(self) -> bytes:
        return self.text() or b"."

    def attributes(self) -> _Attributes:
        flags = self.number()
        size = self.number(">Q") if flags & _SIZE else None
        owner = (self.number(), self.number()) if flags & _OWNER else None
        mode = self.number() & 0o7777 if flags & _MODE else None
        times = (self.number(), self.number()) if flags & _TIMES else None
        return _Attributes(size, owner, mode, times)


def serve_sftp(requests: int, answers: int) -> int:
    """Answer what comes from the descriptor *requests* until its end. Returns an exit code."""
    server = SftpServer()
    while (content := _read_packet(requests)) is not None:
        try:
            answer = server.answer(content)
            write_all(answers, struct.pack(">I", len(answer)) + answer)
        except _BadMessage:
            return 1
        except OSError:  # nobody reads any more
            return 0
    return 0


class SftpServer:
    """A session: its open files and directories."""

    def __init__(self) -> None:
        self._handles = 0
        self._files: dict[bytes, int] = {}
        self._listings: dict[bytes, Iterator[bytes]] = {}
        self._requests: dict[int, Callable[[_Packet], bytes | None]] = {
            3: self._open,
            4: self._close,
            5: self._read,
            6: self._write,
            7: lambda packet: _attributes(os.lstat(packet.path())),
            8: lambda packet: _attributes(os.fstat(self._file(packet))),
            9: lambda packet: _set_attributes(packet.path(), packet.attributes()),
            10: lambda packet: _set_attributes(self._file(packet), packet.attributes()),
            11: self._open_directory,
            12: self._list,
            13: lambda packet: os.unlink(packet.path()),
            14: lambda packet: _make_directory(packet.path(), packet.attributes()),
            15: lambda packet: os.rmdir(packet.path()),
            16: lambda packet: _names([_bare_name(os.path.realpath(packet.path()))]),
            17: lambda packet: _attributes(os.stat(packet.path())),
            18: lambda packet: _rename(packet.path(), packet.path()),
            19: lambda packet: _names([_bare_name(os.readlink(packet.path()))]),
            20: lambda packet: os.symlink(packet.text(), packet.path()),  # in OpenSSH's order: what it means, its place
            _EXTENDED: self._extended,
        }

    def answer(self, content: bytes) -> bytes:
        """The answer to a request. Raises _BadMessage for one that nobody could have meant."""
        packet = _Packet(content)
        kind = packet.number(">B")
        if kind == _INIT:
            extensions = b"".join(_text(name) + _text(b"1") for name in _EXTENSIONS)
            return struct.pack(">BI", 2, _VERSION) + extensions
        number = packet.number()
        try:
            answer = self._requests.get(kind, _refuse)(packet) or _status(_OK, "done")
        except OSError as error:
            answer = _status(_CODES.get(error.errno or 0, _FAILURE), os.strerror(error.errno or 0))
        except ValueError as error:  # a path with a NUL byte
            answer = _status(_FAILURE, str(error))
        return answer[:1] + struct.pack(">I", number) + answer[1:]

    def _extended(self, packet: _Packet) -> bytes | None:
        match packet.text():
            case b"posix-rename@openssh.com":
                os.rename(packet.path(), packet.path())
            case b"hardlink@openssh.com":
                os.link(packet.path(), packet.path())
            case b"fsync@openssh.com":
                os.fsync(self._file(packet))
            case _:
                return _refuse(packet)
        return None

    def _new_handle(self) -> bytes:
        self._handles += 1
        return str(self._handles).encode()

    def _file(self, packet: _Packet) -> int:
        try:
            return self._files[packet.text()]
        except KeyError:
            raise _BadMessage from None

    def _open(self, packet: _Packet) -> bytes:
        path, wanted, attributes = packet.path(), packet.number(), packet.attributes()
        ways = {_READ: os.O_RDONLY, _WRITE: os.O_WRONLY, _READ | _WRITE: os.O_RDWR}
        flags = ways.get(wanted & (_READ | _WRITE), os.O_RDONLY) | os.O_CLOEXEC
        for asked, flag in ((_APPEND, os.O_APPEND), (_CREATE, os.O_CREAT), (_TRUNCATE, os.O_TRUNC), (_EXCLUSIVE, os.O_EXCL)):
            flags |= flag if wanted & asked else 0
        handle = self._new_handle()
        self._files[handle] = os.open(path, flags, 0o666 if attributes.mode is None else attributes.mode)
        return struct.pack(">B", _HANDLE) + _text(handle)

    def _close(self, packet: _Packet) -> None:
        handle = packet.text()
        if self._listings.pop(handle, None) is None:
            try:
                os.close(self._files.pop(handle))
            except KeyError:
                raise _BadMessage from None

    def _read(self, packet: _Packet) -> bytes:
        fd, offset, wanted = self._file(packet), packet.number(">Q"), packet.number()
        content = os.pread(fd, min(wanted, _LARGEST), offset)
        return struct.pack(">B", _DATA) + _text(content) if content else _status(_EOF, "end of file")

    def _write(self, packet: _Packet) -> None:
        fd, offset, content = self._file(packet), packet.number(">Q"), memoryview(packet.text())
        while content:
            written = os.pwrite(fd, content, offset)
            content, offset = content[written:], offset + written

    def _open_directory(self, packet: _Packet) -> bytes:
        path, handle = packet.path(), self._new_handle()
        names = [b".", b"..", *os.listdir(path)]
        self._listings[handle] = (entry for name in names if (entry := _listed(path, name)))
        return struct.pack(">B", _HANDLE) + _text(handle)

    def _list(self, packet: _Packet) -> bytes:
        entries = self._listings.get(packet.text())
        if entries is None:
            raise _BadMessage
        found = list(islice(entries, _NAMES_AT_ONCE))
        return _names(found) if found else _status(_EOF, "end of directory")


def _read_packet(fd: int) -> bytes | None:
    """None at the end, and when what comes is no packet."""
    head = _read_exactly(fd, 4)
    if head is None or not 0 < (length := int.from_bytes(head, "big")) <= _LARGEST:
        return None
    return _read_exactly(fd, length)


def _read_exactly(fd: int, length: int) -> bytes | None:
    content = bytearray()
    while len(content) < length:
        chunk = os.read(fd, length - len(content))
        if not chunk:
            return None
        content += chunk
    return bytes(content)


def _text(content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + content


def _status(code: int, words: str) -> bytes:
    return struct.pack(">BI", _STATUS, code) + _text(words.encode()) + _text(b"en")


def _refuse(_packet: _Packet) -> bytes:
    return _status(_UNSUPPORTED, "not supported")


def _attributes(found: os.stat_result) -> bytes:
    return struct.pack(">B", _ATTRS) + _packed(found)


def _packed(found: os.stat_result) -> bytes:
    times = (max(0, min(int(moment), 0xFFFF_FFFF)) for moment in (found.st_atime, found.st_mtime))
    flags = _SIZE | _OWNER | _MODE | _TIMES
    return struct.pack(">IQIIIII", flags, found.st_size, found.st_uid, found.st_gid, found.st_mode, *times)


def _set_attributes(file: bytes | int, wanted: _Attributes) -> None:
    if wanted.size is not None:
        os.truncate(file, wanted.size)
    if wanted.mode is not None:
        os.chmod(file, wanted.mode)
    if wanted.times is not None:
        os.utime(file, wanted.times)
    if wanted.owner is not None:
        os.chown(file, *wanted.owner)


def _make_directory(path: bytes, wanted: _Attributes) -> None:
    os.mkdir(path, 0o777 if wanted.mode is None else wanted.mode)


def _rename(old: bytes, new: bytes) -> None:
    if os.path.lexists(new):  # version 3 replaces nothing
        raise FileExistsError(errno.EEXIST, "")
    os.rename(old, new)


def _names(entries: list[bytes]) -> bytes:
    return struct.pack(">BI", _NAME, len(entries)) + b"".join(entries)


def _bare_name(name: bytes) -> bytes:
    """A name whose attributes nobody asked for."""
    return _text(name) * 2 + struct.pack(">I", 0)


def _listed(directory: bytes, name: bytes) -> bytes:
    """A name as in `ls -l`; empty for one that has gone."""
    with suppress(OSError):
        found = os.lstat(os.path.join(directory, name))
        when = time.strftime(
            "%b %e %H:%M" if time.time() - found.st_mtime < 182 * 86400 else "%b %e  %Y", time.gmtime(found.st_mtime)
        )
        owner = f"{found.st_nlink:>4} {found.st_uid:<8} {found.st_gid:<8}"
        line = f"{stat.filemode(found.st_mode)} {owner} {found.st_size:>8} {when} ".encode() + name
        return _text(name) + _text(line) + _packed(found)
    return b""
