"""Give what other users of a container wrote to a kept directory back to whom the directory belongs.

Container root's files belong to the caller already (id-mapped mount, or the user namespace's map).
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path


def reown(directory: Path, uid: int, gid: int) -> int:
    """Make everything below *directory* belong to *uid*, *gid*; how many files changed. Links are not followed."""
    changed = 0
    for _path, names, files, folder in os.fwalk(directory, follow_symlinks=False):
        for name in (*names, *files):
            with contextlib.suppress(FileNotFoundError):
                found = os.stat(name, dir_fd=folder, follow_symlinks=False)
                if (found.st_uid, found.st_gid) != (uid, gid):
                    os.chown(name, uid, gid, dir_fd=folder, follow_symlinks=False)
                    changed += 1
    return changed
