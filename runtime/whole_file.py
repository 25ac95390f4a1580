"""Files and directories that appear as a whole: who reads one sees the old content or the new, never a part; and `write_all`.

Each is made beside its place, under a random name: also two machines may do so at once, in a directory that both see.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path


def replace_file(path: Path, content: str | bytes | Iterable[bytes], *, mode: int = 0o600, sync: bool = False) -> None:
    """Let *path*, whose directory exists, have *content* (or the pieces of it) by rename(2). *mode* is that of open(2), which the
    umask lessens. Of several who do so at once, in threads or processes, one is the last.

    After a power cut it may have the old content; with *sync* it has the new once this returns. After a full disk (OSError) it
    has the old.
    """
    partial = _beside(path)
    whole = content.encode() if isinstance(content, str) else content
    pieces = (whole,) if isinstance(whole, bytes) else whole
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
    try:
        with open(os.open(partial, flags, mode), "wb") as file:
            file.writelines(pieces)
            if sync:
                file.flush()
                os.fsync(file.fileno())
        os.rename(partial, path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise


def write_all(fd: int, content: bytes | memoryview) -> None:
    """Write all of *content* to *fd*, which blocks: write(2) may take less."""
    view = memoryview(content)
    while view:
        view = view[os.write(fd, view) :]


_NO_SECOND_NAME = (errno.EXDEV, errno.EMLINK, errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS)
"""Another file system; 65,000 names already (ext4); `fs.protected_hardlinks`; a file system without hard links."""


def link_or_copy(source: Path, target: Path) -> None:
    """Make *target*, whose directory exists, appear with the content of *source*, which never changes again: as a second name of
    it, or as a copy where there can be none. OSError otherwise."""
    partial = _beside(target)
    try:
        try:
            os.link(source, partial)
        except OSError as error:
            if error.errno not in _NO_SECOND_NAME:
                raise
            import shutil

            shutil.copyfile(source, partial)
        partial.rename(target)
    finally:
        # rename(2) of one name of a file onto another name of it leaves both.
        partial.unlink(missing_ok=True)


@contextmanager
def new_directory(path: Path, *, mode: int = 0o700) -> Iterator[Path]:
    """A new directory that becomes *path*, whose directory exists, when the body has filled it. It is gone when the body fails,
    or when somebody was faster: then *path* is theirs. Raises OSError when *path* is something else."""
    partial = _beside(path)
    partial.mkdir(mode=mode)
    try:
        yield partial
        try:
            os.rename(partial, path)
        except OSError as error:
            if error.errno not in (errno.EEXIST, errno.ENOTEMPTY):
                raise
    finally:
        if partial.exists():
            import shutil

            shutil.rmtree(partial, ignore_errors=True)


def remove_partials(directory: Path, names: Iterable[str]) -> None:
    """Remove what killed processes left of the files *names* of *directory*: for whoever alone writes them now."""
    beginnings = tuple(map(_beginning, names))
    for name in os.listdir(directory):
        if name.startswith(beginnings):
            (directory / name).unlink(missing_ok=True)


def _beside(path: Path) -> Path:
    return path.with_name(f"{_beginning(path.name)}{os.urandom(8).hex()}")


def _beginning(name: str) -> str:
    return f".{name[:48]}."
