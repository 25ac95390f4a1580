"""Copy one regular file and hash it on the way; share its blocks where the file system can (FICLONE, ioctl_ficlone(2)).

No link is followed at either end and the target must not exist, so neither end can be redirected.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import stat
from collections.abc import Sequence
from pathlib import Path

from runtime.errors import BadContent

_FICLONE = 0x40049409
_CHUNK = 1 << 20
_CANNOT_CLONE = {errno.EOPNOTSUPP, errno.EXDEV, errno.EINVAL, errno.ENOTTY, errno.ENOSYS, errno.EPERM, errno.ETXTBSY}


def copy_hashed(
    source: Path, target: Path, *, mode: int, algorithms: Sequence[str] = ("sha256",)
) -> tuple[int, dict[str, bytes]]:
    """Copy *source* to the new file *target* with exactly *mode*. Returns its size and a digest for each of *algorithms*."""
    reading = os.open(source, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    try:
        if not stat.S_ISREG(os.fstat(reading).st_mode):
            raise BadContent(f"`{source}` is no regular file")
        writing = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            size, digests = _transfer(reading, writing, algorithms)
            os.fchmod(writing, mode)
        finally:
            os.close(writing)
    finally:
        os.close(reading)
    return size, digests


def _transfer(reading: int, writing: int, algorithms: Sequence[str]) -> tuple[int, dict[str, bytes]]:
    hashers = {name: hashlib.new(name) for name in algorithms}
    cloned = _clone(reading, writing)
    size = 0
    while chunk := os.read(reading, _CHUNK):
        size += len(chunk)
        for hasher in hashers.values():
            hasher.update(chunk)
        if not cloned:
            _write_all(writing, chunk)
    return size, {name: hasher.digest() for name, hasher in hashers.items()}


def _clone(reading: int, writing: int) -> bool:
    try:
        fcntl.ioctl(writing, _FICLONE, reading)
    except OSError as error:
        if error.errno not in _CANNOT_CLONE:
            raise
        return False
    return True


def _write_all(descriptor: int, content: bytes) -> None:
    view = memoryview(content)
    while view:
        view = view[os.write(descriptor, view) :]
