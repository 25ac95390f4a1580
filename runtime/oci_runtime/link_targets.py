"""Where a path of an image leads whose links lead nowhere yet, such as `/etc/resolv.conf` of a systemd's image.

Engines expect the target to be made inside the root (runc does so). What is found here is a wish only: it is made and opened by
`safe_open`, which cannot leave the root.
"""

from __future__ import annotations

import errno
import os

from runtime.kernel.safe_open import open_in_root

_MOST_LINKS = 40


def leads_to(root_fd: int, path: str) -> str:
    """*path* with every link followed inside the root, whether or not there is something."""
    done: list[str] = []
    rest = _parts(path)
    links = 0
    while rest:
        part = rest.pop(0)
        if part == "..":
            del done[-1:]
            continue
        target = _link_at(root_fd, "/".join((*done, part)))
        if target is None:
            done.append(part)
            continue
        links += 1
        if links > _MOST_LINKS:
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), path)
        if target.startswith("/"):
            done.clear()
        rest = _parts(target) + rest
    return "/" + "/".join(done)


def _parts(path: str) -> list[str]:
    return [part for part in path.split("/") if part not in ("", ".")]


def _link_at(root_fd: int, path: str) -> str | None:
    """What the link *path* says; None when it is none."""
    try:
        fd = open_in_root(root_fd, path, os.O_PATH | os.O_NOFOLLOW)
    except (FileNotFoundError, NotADirectoryError):
        return None
    try:
        return os.readlink("", dir_fd=fd)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOENT):
            raise
        return None
    finally:
        os.close(fd)
