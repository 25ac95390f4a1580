"""Open and make files below a directory as if that directory were `/`: openat2(2) with RESOLVE_IN_ROOT.

Symbolic links, absolute ones and `..` included, are resolved by the kernel inside the root, so content of an image can't lead
out of it however it races. Nothing here follows a path by hand.
"""

from __future__ import annotations

import errno
import os
import stat

from runtime.kernel import libc

RESOLVE_NO_MAGICLINKS = 0x02
RESOLVE_NO_SYMLINKS = 0x04
RESOLVE_IN_ROOT = 0x10

_RETRIES = 64


def open_in_root(root_fd: int, path: str | bytes, flags: int = os.O_PATH, *, resolve: int = 0) -> int:
    """A descriptor for *path* below *root_fd* (O_CLOEXEC added). *resolve* adds RESOLVE_* restrictions.

    Raises FileNotFoundError, NotADirectoryError … as open(2) does.
    """
    for _ in range(_RETRIES):
        try:
            return libc.openat2(root_fd, path, flags | os.O_CLOEXEC, resolve=RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS | resolve)
        except BlockingIOError:
            # EAGAIN: something was renamed somewhere during a `..` step, so the kernel cannot vouch for it (openat2(2)).
            continue
    return libc.openat2(root_fd, path, flags | os.O_CLOEXEC, resolve=RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS | resolve)


def read_in_root(root_fd: int, path: str, *, limit: int = 1 << 20) -> bytes | None:
    """Content of the regular file *path*; None when there is none. Refuses nothing but size: at most *limit* bytes are read."""
    try:
        fd = open_in_root(root_fd, path, os.O_RDONLY | os.O_NONBLOCK)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        if error.errno != errno.ELOOP:
            raise
        return None  # links in a circle, or into /proc
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        return None
    with open(fd, "rb") as file:
        return file.read(limit)


def make_directories(
    root_fd: int, path: str, *, mode: int = 0o755, owner: tuple[int, int] | None = None
) -> tuple[int, list[str]]:
    """A descriptor (O_PATH) for the directory *path*, and the paths that had to be made, outermost first.

    Made directories get *mode* and, when given, *owner*. A link on the way is followed inside the root; one that leads nowhere
    is an error (FileExistsError), since making its target would write where nobody asked.
    """
    current = open_in_root(root_fd, ".", os.O_PATH | os.O_DIRECTORY)
    made: list[str] = []
    prefix = ""
    for name in (part for part in path.split("/") if part not in ("", ".")):
        prefix = f"{prefix}/{name}" if prefix else name
        try:
            following = open_in_root(root_fd, prefix, os.O_PATH | os.O_DIRECTORY)
        except FileNotFoundError:
            try:
                os.mkdir(name, 0o700, dir_fd=current)
                following = libc.openat2(current, name, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC, resolve=RESOLVE_NO_SYMLINKS)
                _set_owner_and_mode(following, owner, mode)
            finally:
                os.close(current)
            made.append(prefix)
        else:
            os.close(current)
        current = following
    return current, made


def make_file(root_fd: int, path: str, *, mode: int = 0o644, owner: tuple[int, int] | None = None) -> tuple[int, list[str]]:
    """A descriptor (O_PATH) for the existing or new, empty file *path*, and the paths that had to be made."""
    try:
        return open_in_root(root_fd, path), []
    except FileNotFoundError:
        parent, _, name = path.rstrip("/").rpartition("/")
        directory, made = make_directories(root_fd, parent, owner=owner)
        try:
            os.close(os.open(name, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600, dir_fd=directory))
            created = libc.openat2(directory, name, os.O_PATH | os.O_CLOEXEC, resolve=RESOLVE_NO_SYMLINKS)
        finally:
            os.close(directory)
        _set_owner_and_mode(created, owner, mode)
        return created, [*made, path.strip("/")]


def _set_owner_and_mode(path_fd: int, owner: tuple[int, int] | None, mode: int) -> None:
    # fchmod refuses O_PATH descriptors; their /proc name is the documented way round (open(2), "O_PATH").
    name = f"/proc/self/fd/{path_fd}"
    if owner is not None:
        os.chown(name, *owner)
    os.chmod(name, mode)
