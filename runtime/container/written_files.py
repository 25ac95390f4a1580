"""Move what a program wrote below one directory of its container out of the writable layer, before that is removed.

The container has ended, and its files are any: deep, of other owners, with links to anywhere. Regular files and links move, by
rename where both lie on one file system; nothing is followed, and nothing is written outside of the target.
"""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from runtime.kernel import id_maps, namespaces
from runtime.kernel.file_data import copy_data
from runtime.kernel.safe_open import RESOLVE_NO_SYMLINKS, make_directories, open_in_root
from runtime.rootfs.overlay import UPPER

_DEEPEST = 60
_MOST_NAMED = 5
_REPORT_BYTES = 1 << 14
"""Less than what a pipe that nobody reads yet takes."""


class Left(NamedTuple):
    """What was not moved."""

    unwanted: int = 0
    failed: int = 0
    names: tuple[str, ...] = ()
    """Some of them: those that failed, else the unwanted."""
    why: str = ""
    """Of the first that failed: the kernel's word."""


Wanted = Callable[[str, Path], bool | None]


def move_written(overlay_dir: Path, below: str, target: Path, into: str, *, is_wanted: Wanted) -> Left:
    """Move the files below *below* (a path in the container) of the writable layer to *into* (a relative path) below *target*.

    *is_wanted* is asked about each, by its path relative to *below* and where it lies, and of each directory by its path with a
    slash at the end; None: it is nobody's loss. Idempotent.
    """
    source = overlay_dir / UPPER / below.strip("/")
    if not source.is_dir() or source.is_symlink():
        return Left()
    read_end, write_end = os.pipe()

    def move() -> None:
        report = _Mover(source, target, into, is_wanted).run()._asdict()
        os.write(write_end, json.dumps(report).encode()[:_REPORT_BYTES])

    try:
        if os.geteuid() == 0:
            move()
        else:
            # Sub-ids own what other users of the container wrote: root of a user namespace may move it.
            namespaces.within_user_namespace(id_maps.choose(), move)
        found = json.loads(os.read(read_end, _REPORT_BYTES))
        return Left(**found | {"names": tuple(found["names"])})
    finally:
        os.close(read_end)
        os.close(write_end)


class _Mover:
    def __init__(self, source: Path, target: Path, into: str, is_wanted: Wanted) -> None:
        self._source = source
        self._target_fd = os.open(target, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        self._into = into
        self._is_wanted = is_wanted
        self._unwanted: list[str] = []
        self._failed: list[str] = []
        self._why = ""

    def run(self) -> Left:
        try:
            for path in self._files("", _DEEPEST):
                wanted = self._is_wanted(path, self._source / path)
                if wanted:
                    self._move(path)
                elif wanted is not None:
                    self._unwanted.append(path)
        finally:
            os.close(self._target_fd)
        named = (self._failed or self._unwanted)[:_MOST_NAMED]
        return Left(len(self._unwanted), len(self._failed), tuple(name[:200] for name in named), self._why)

    def _files(self, directory: str, depth: int) -> Iterator[str]:
        """Regular files and links below *directory* (`""` or `a/`), each before what is listed after it is looked at."""
        try:
            with os.scandir(self._source / directory) as found:
                entries = sorted(found, key=lambda entry: entry.name)
        except OSError as error:
            self._note_failure(directory, error)
            return
        for entry in entries:
            path = directory + entry.name
            if not entry.is_dir(follow_symlinks=False):
                if entry.is_symlink() or entry.is_file(follow_symlinks=False):
                    yield path
            elif self._is_wanted(f"{path}/", self._source / path) is not None:
                if depth:
                    yield from self._files(f"{path}/", depth - 1)
                else:
                    self._note_failure(f"{path}/", OSError(errno.ENAMETOOLONG, os.strerror(errno.ENAMETOOLONG)))

    def _move(self, path: str) -> None:
        folder, _, name = path.rpartition("/")
        try:
            place = self._place(f"{self._into}/{folder}".rstrip("/"))
            try:
                self._put(self._source / path, place, name)
            finally:
                os.close(place)
        except OSError as error:
            self._note_failure(path, error)

    def _place(self, folder: str) -> int:
        """The directory, made where it is missing; a link on the way is the program's, and is not followed."""
        with suppress(FileNotFoundError):
            return open_in_root(self._target_fd, folder, os.O_PATH | os.O_DIRECTORY, resolve=RESOLVE_NO_SYMLINKS)
        os.close(make_directories(self._target_fd, folder)[0])
        return open_in_root(self._target_fd, folder, os.O_PATH | os.O_DIRECTORY, resolve=RESOLVE_NO_SYMLINKS)

    def _put(self, source: Path, place: int, name: str) -> None:
        try:
            os.rename(source, name, dst_dir_fd=place)
        except OSError as error:
            if error.errno != errno.EXDEV:
                raise
            partial = f".{os.urandom(4).hex()}.partial"
            try:
                _copy(source, place, partial)
                os.rename(partial, name, src_dir_fd=place, dst_dir_fd=place)
            except OSError:
                with suppress(FileNotFoundError):
                    os.unlink(partial, dir_fd=place)
                raise
            source.unlink()

    def _note_failure(self, path: str, error: OSError) -> None:
        self._failed.append(path)
        self._why = self._why or os.strerror(error.errno or 0)


def _copy(source: Path, place: int, name: str) -> None:
    if source.is_symlink():
        os.symlink(os.readlink(source), name, dir_fd=place)
        return
    read_fd = os.open(source, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        write_fd = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600, dir_fd=place)
        try:
            copy_data(read_fd, write_fd)
            found = os.fstat(read_fd)
            os.utime(write_fd, ns=(found.st_atime_ns, found.st_mtime_ns))
        finally:
            os.close(write_fd)
    finally:
        os.close(read_fd)
