"""The data of a file between its holes, lseek(2): copied by the kernel, and holes stay holes.

A file of 8 TB that takes 3 MB of the disk costs what 3 MB cost. A file system that can't tell calls all of a file data.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator

_AT_ONCE = 1 << 30
_NOT_BY_RANGE = (errno.EXDEV, errno.EINVAL, errno.EOPNOTSUPP, errno.ENOSYS, errno.EBADF)
"""Two file systems, or one that can't (copy_file_range(2))."""


def data_extents(fd: int) -> Iterator[tuple[int, int]]:
    """Where the file's data begin and end, in order."""
    end = 0
    while True:
        try:
            start = os.lseek(fd, end, os.SEEK_DATA)
        except OSError as error:
            if error.errno != errno.ENXIO:  # nothing but a hole to the end
                raise
            return
        end = os.lseek(fd, start, os.SEEK_HOLE)
        yield start, end


def copy_data(source_fd: int, target_fd: int) -> None:
    """Make the empty file *target_fd* what *source_fd* is: its data, its holes, its length."""
    for start, end in data_extents(source_fd):
        _copy_extent(source_fd, target_fd, start, end)
    os.ftruncate(target_fd, os.fstat(source_fd).st_size)


def _copy_extent(source_fd: int, target_fd: int, start: int, end: int) -> None:
    try:
        while start < end and (copied := os.copy_file_range(source_fd, target_fd, min(end - start, _AT_ONCE), start, start)):
            start += copied
    except OSError as error:
        if error.errno not in _NOT_BY_RANGE:
            raise
        os.lseek(target_fd, start, os.SEEK_SET)
        while start < end and (copied := os.sendfile(target_fd, source_fd, start, min(end - start, _AT_ONCE))):
            start += copied
