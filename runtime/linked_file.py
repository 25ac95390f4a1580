"""A second name for a file that never changes again, or a copy of it where there can be no second name."""

from __future__ import annotations

import errno
import os
import shutil
from _thread import get_native_id  # as in `whole_file.py`
from pathlib import Path

_NO_SECOND_NAME = (errno.EXDEV, errno.EMLINK, errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS)
"""Another file system; 65,000 names already (ext4); `fs.protected_hardlinks`; a file system without hard links."""


def link_or_copy(source: Path, target: Path) -> None:
    """Make *target*, whose directory exists, appear with the content of *source*, whole or not at all. OSError otherwise."""
    partial = target.with_name(f".{target.name}.{get_native_id()}")
    try:
        try:
            os.link(source, partial)
        except OSError as error:
            if error.errno not in _NO_SECOND_NAME:
                raise
            shutil.copyfile(source, partial)
        partial.rename(target)
    finally:
        # rename(2) of one name of a file onto another name of it leaves both.
        partial.unlink(missing_ok=True)
