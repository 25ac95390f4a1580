"""Mount points in a container's root: found inside the root by the kernel, made where the image has none, and remembered.

What was made is a trace of ours in the writable directory; a build step removes it before its layer is taken (`remove_made`).
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from runtime.errors import ContainerError
from runtime.kernel import mounts
from runtime.kernel.safe_open import make_directories, make_file
from runtime.light_typing import Protocol


class Root:
    """A container's root while it is being furnished. *owner* is whom what we make belongs to (None: whoever makes it)."""

    __slots__ = ("fd", "made", "owner")

    def __init__(self, fd: int, owner: tuple[int, int] | None) -> None:
        self.fd = fd
        self.owner = owner
        self.made: list[str] = []

    def directory(self, target: str, *, owner: tuple[int, int] | None = None, mode: int = 0o755) -> int:
        """A descriptor for the directory *target*."""
        return self._open_or_make(target, make_directories, owner or self.owner, mode)

    def file(self, target: str) -> int:
        """A descriptor for the file *target*."""
        return self._open_or_make(target, make_file, self.owner, 0o644)

    def _open_or_make(self, target: str, make: _Maker, owner: tuple[int, int] | None, mode: int) -> int:
        try:
            fd, made = make(self.fd, target.strip("/"), mode=mode, owner=owner)
        except OSError as error:
            raise ContainerError(f"no mount point `{target}` can be made in the image: {error.strerror}") from error
        if made:
            self.made += self._outermost_first(fd, len(made))
        return fd

    def _outermost_first(self, fd: int, count: int) -> list[str]:
        """The last *count* directories on the way to *fd*, and itself, without the image's links: `usr/lib/x` for `/lib/x`."""
        there, root = (Path(os.readlink(f"/proc/self/fd/{one}")) for one in (fd, self.fd))
        path = there.relative_to(root)
        return [str(one) for one in (path, *path.parents)[:count]][::-1]

    def attach(self, tree: int, target: str, *, directory: bool = True) -> None:
        """Attach the detached *tree* at *target* and close it."""
        try:
            point = self.directory(target) if directory else self.file(target)
            try:
                mounts.attach(tree, point)
            except OSError as error:
                raise ContainerError(f"cannot mount at `{target}`: {error.strerror}") from error
            finally:
                os.close(point)
        finally:
            os.close(tree)


class _Maker(Protocol):
    """The signature that `make_directories` and `make_file` share."""

    def __call__(self, root_fd: int, path: str, *, mode: int, owner: tuple[int, int] | None) -> tuple[int, list[str]]: ...


def remove_made(upper: Path, made: list[str]) -> None:
    """Take the mount points *made* out of the writable directory *upper*, where they are still empty."""
    for path in reversed(made):
        point = upper / path
        with contextlib.suppress(OSError):  # something lies in it, or the step removed it: then it is the step's
            if point.is_dir() and not point.is_symlink():
                point.rmdir()
            elif point.is_file() and point.stat().st_size == 0:
                point.unlink()
