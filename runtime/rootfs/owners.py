"""Give what other users of a container wrote to a kept directory back to whom the directory belongs.

Container root's files belong to the caller already (id-mapped mount, or the user namespace's map). That is also why no file may
stay set-user-id: on the machine it would let everybody be the caller.
"""

from __future__ import annotations

import contextlib
import os
import stat
from pathlib import Path

_SET_ID = stat.S_ISUID | stat.S_ISGID


def reown(directory: Path, uid: int, gid: int) -> int:
    """Make everything below *directory* belong to *uid*, *gid*, and no file set-user-id or set-group-id; how many changed.
    Links are not followed."""
    changed = 0
    for _path, names, files, folder in os.fwalk(directory, follow_symlinks=False):
        for name in (*names, *files):
            with contextlib.suppress(FileNotFoundError):
                found = os.stat(name, dir_fd=folder, follow_symlinks=False)
                foreign = (found.st_uid, found.st_gid) != (uid, gid)
                set_id = stat.S_ISREG(found.st_mode) and bool(found.st_mode & _SET_ID)
                if foreign:
                    os.chown(name, uid, gid, dir_fd=folder, follow_symlinks=False)
                if set_id:
                    _clear_set_id(name, folder)
                changed += foreign or set_id
    return changed


def _clear_set_id(name: str, folder: int) -> None:
    # By descriptor: chmod(2) follows links, and another run may still write into a shared directory.
    file = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder)
    try:
        mode = os.fstat(file).st_mode
        if stat.S_ISREG(mode):
            os.chmod(f"/proc/self/fd/{file}", stat.S_IMODE(mode) & ~_SET_ID)
    finally:
        os.close(file)
