"""Give what other users of a container wrote to a kept directory back to whom the directory belongs.

Container root's files belong to the caller already (id-mapped mount, or the user namespace's map). That is also why no file may
stay set-user-id: on the machine it would let everybody be the caller. Nor may a file keep an SELinux label of the program's own:
while no policy is loaded the owner of a file writes what a later boot would believe (security/selinux/hooks.c).
"""

from __future__ import annotations

import contextlib
import os
import stat
from pathlib import Path

_SET_ID = stat.S_ISUID | stat.S_ISGID
_LABEL = "security.selinux"
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def reown(directory: Path, uid: int, gid: int) -> int:
    """Make everything below *directory* belong to *uid*, *gid*, and no file set-user-id, set-group-id or labelled; how many got
    another owner or mode. Links are not followed.

    One descriptor and no frame for a level: a program decides how deep its directories are.
    """
    here = os.open(directory, _DIRECTORY)
    try:
        _drop_label(".", here)
        changed, names = _reown_in(here, uid, gid)
        waiting, above = [names], list[tuple[int, int]]()
        while waiting:
            if waiting[-1]:
                with contextlib.suppress(OSError):  # gone, or not ours to enter
                    below = os.open(waiting[-1].pop(), _DIRECTORY, dir_fd=here)
                    above.append(_identity(here))
                    os.close(here)
                    here = below
                    more, names = _reown_in(here, uid, gid)
                    changed += more
                    waiting.append(names)
                continue
            waiting.pop()
            if above:
                parent = os.open("..", _DIRECTORY, dir_fd=here)
                os.close(here)
                here = parent
                if _identity(here) != above.pop():
                    break  # moved away under us: where we are now is none of ours
        return changed
    finally:
        os.close(here)


def lend(path: Path, uid: int, gid: int) -> None:
    """Give a file, or a directory with everything in it, to *uid*, *gid*; `reown_to_caller` takes it back."""
    os.chown(path, uid, gid, follow_symlinks=False)
    if stat.S_ISDIR(os.lstat(path).st_mode):
        reown(path, uid, gid)


def _identity(directory: int) -> tuple[int, int]:
    status = os.fstat(directory)
    return status.st_dev, status.st_ino


def _reown_in(folder: int, uid: int, gid: int) -> tuple[int, list[str]]:
    """How many entries of *folder* changed, and the names of its directories."""
    changed, directories = 0, []
    for name in os.listdir(folder):
        with contextlib.suppress(FileNotFoundError):
            found = os.stat(name, dir_fd=folder, follow_symlinks=False)
            if stat.S_ISDIR(found.st_mode):
                directories.append(name)
            foreign = (found.st_uid, found.st_gid) != (uid, gid)
            set_id = stat.S_ISREG(found.st_mode) and bool(found.st_mode & _SET_ID)
            if foreign:
                os.chown(name, uid, gid, dir_fd=folder, follow_symlinks=False)
            if set_id:
                _clear_set_id(name, folder)
            _drop_label(name, folder)
            changed += foreign or set_id
    return changed, directories


def _drop_label(name: str, folder: int) -> None:
    """Where a policy is loaded, it says who may label what, and nobody may take a label away: EACCES."""
    with contextlib.suppress(OSError):  # mostly ENODATA
        os.removexattr(f"/proc/self/fd/{folder}/{name}", _LABEL, follow_symlinks=False)


def _clear_set_id(name: str, folder: int) -> None:
    # By descriptor: chmod(2) follows links, and another run may still write into a shared directory.
    file = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder)
    try:
        mode = os.fstat(file).st_mode
        if stat.S_ISREG(mode):
            os.chmod(f"/proc/self/fd/{file}", stat.S_IMODE(mode) & ~_SET_ID)
    finally:
        os.close(file)
