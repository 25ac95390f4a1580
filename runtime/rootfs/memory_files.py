"""Small files that exist in memory only, each to be bound over a path of a container."""

from __future__ import annotations

import os

from runtime.kernel import libc, mounts
from runtime.rootfs.targets import Root

_ATTRIBUTES = mounts.ATTR_NOSUID | mounts.ATTR_NODEV | mounts.ATTR_NOEXEC


class MemoryFiles:
    """A tmpfs that lies over the container's /dev while files are bound out of it; the binds keep it alive.

    Over /dev since a tree may be cloned from an attached mount only (before 6.15), and nothing is in /dev yet.
    """

    def __init__(self, root: Root) -> None:
        self._count = 0
        self._fd = mounts.new_mount("tmpfs", {"mode": "700"}, attributes=_ATTRIBUTES)
        place = root.directory("dev")
        mounts.attach(self._fd, place)
        os.close(place)

    def tree(self, content: bytes, *, mode: int, owner: tuple[int, int] | None) -> int:
        """A detached mount of a new file with *content*."""
        name = str(self._count)
        self._count += 1
        fd = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600, dir_fd=self._fd)
        with open(fd, "wb") as out:
            out.write(content)
            if owner is not None:
                os.fchown(fd, *owner)
            os.fchmod(fd, mode)
        return mounts.clone_tree(name, at=self._fd)

    def close(self) -> None:
        before = os.open(".", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        os.fchdir(self._fd)
        libc.umount(".", mounts.MNT_DETACH)
        os.fchdir(before)
        os.close(before)
        os.close(self._fd)

    def __enter__(self) -> MemoryFiles:
        return self

    def __exit__(self, *_failure: object) -> None:
        self.close()
