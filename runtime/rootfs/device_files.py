"""A device's files in a container: its driver's files bound one by one, links, and what the dynamic loader has to know of them.

The loader's cache is written by ourselves: ldconfig makes no SONAME links where it can't write and says nothing, an image may
have none, and no program has to run with an image's content for it.
"""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Sequence

from runtime.errors import BadContent, ContainerError
from runtime.kernel import mounts
from runtime.kernel.ld_cache import CachedLibrary, with_libraries
from runtime.kernel.safe_open import open_in_root, read_in_root
from runtime.rootfs.mount_spec import HostFile, Symlink
from runtime.rootfs.targets import Root

_CACHE = "etc/ld.so.cache"
_CONFIGURATION = "etc/ld.so.conf.d/00-launch-devices.conf"
_LARGEST_CACHE = 16 << 20


def add_device_files(
    root: Root, files: Sequence[HostFile], links: Sequence[Symlink], loader_dirs: Sequence[str], *, owner: tuple[int, int] | None
) -> list[str]:
    """Bind *files*, make *links* (those below /dev are `system_mounts.mount_dev`'s), and tell the loader about *loader_dirs*.

    Returns warnings: a file whose place lies on something that is mounted read-only is left out.
    """
    left_out = []
    for file in files:
        try:
            root.attach(_bound(file), file.target, directory=file.source.is_dir())
        except ContainerError as error:
            if not isinstance(error.__cause__, OSError) or error.__cause__.errno != errno.EROFS:
                raise
            left_out.append(f"`{file.target}`")
    for link in links:
        if not link.path.startswith("/dev/"):
            make_link(root, link)
    if loader_dirs:
        _tell_loader(root, loader_dirs, owner)
    return (
        [f"left out of the driver's files, since their places are on a read-only mount: {', '.join(left_out)}"]
        if left_out
        else []
    )


def _bound(file: HostFile) -> int:
    try:
        tree = mounts.clone_tree(file.source, recursive=True)
    except OSError as error:
        raise ContainerError(f"cannot mount `{file.source}` at `{file.target}`: {os.strerror(error.errno or 0)}") from error
    attributes = mounts.ATTR_NOSUID | mounts.ATTR_NODEV | (mounts.ATTR_RDONLY if file.readonly else 0)
    mounts.set_attributes(tree, attributes, recursive=True)
    return tree


def make_link(root: Root, link: Symlink) -> None:
    """Make *link* inside the root, in place of a file or link of that name. A directory there stays, and is an error."""
    parent, name = os.path.split(link.path.rstrip("/"))
    directory = root.directory(parent)
    try:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(name, dir_fd=directory)
        os.symlink(link.points_to, name, dir_fd=directory)
    except OSError as error:
        raise ContainerError(f"cannot make the link `{link.path}`: {error.strerror}") from error
    finally:
        os.close(directory)


def _tell_loader(root: Root, directories: Sequence[str], owner: tuple[int, int] | None) -> None:
    libraries = [
        CachedLibrary(name, f"{directory.rstrip('/')}/{name}")
        for directory in directories
        for name in _libraries_in(root, directory)
    ]
    content = read_in_root(root.fd, _CACHE, limit=_LARGEST_CACHE) or b""
    try:
        cache = with_libraries(content, libraries)
    except BadContent:  # the image's own cache is damaged: its loader can't read it either
        cache = with_libraries(b"", libraries)
    _write(root, _CACHE, cache, owner)
    # For an ldconfig that the program runs itself.
    _write(root, _CONFIGURATION, "".join(f"{directory}\n" for directory in directories).encode(), owner)


def _libraries_in(root: Root, directory: str) -> list[str]:
    try:
        fd = open_in_root(root.fd, directory.strip("/"), os.O_RDONLY | os.O_DIRECTORY)
    except OSError:
        return []
    try:
        return sorted(name for name in os.listdir(fd) if ".so" in name)
    finally:
        os.close(fd)


def _write(root: Root, path: str, content: bytes, owner: tuple[int, int] | None) -> None:
    parent, name = os.path.split(path)
    directory = root.directory(parent)
    try:
        partial = f".{name}.launch"
        fd = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600, dir_fd=directory)
        with open(fd, "wb") as file:
            file.write(content)
            if owner is not None:
                os.fchown(fd, *owner)
            os.fchmod(fd, 0o644)
        os.rename(partial, name, src_dir_fd=directory, dst_dir_fd=directory)
    finally:
        os.close(directory)
