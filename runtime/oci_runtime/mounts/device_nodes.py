"""/dev of a container: the nodes that the runtime-spec promises (config-linux.md, "Default Devices") and those of the bundle.

Where nodes can't be made, in a user namespace, the machine's are bound.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Mapping, Sequence

from runtime.errors import ContainerError
from runtime.kernel import libc, mounts
from runtime.kernel.safe_open import RESOLVE_NO_SYMLINKS
from runtime.oci.linux_config import Device
from runtime.rootfs.targets import Root

_DEFAULT = tuple(
    Device(f"/dev/{name}", "c", major, minor, 0o666, 0, 0)
    for name, major, minor in (
        ("null", 1, 3),
        ("zero", 1, 5),
        ("full", 1, 7),
        ("random", 1, 8),
        ("urandom", 1, 9),
        ("tty", 5, 0),
    )
)
_LINKS = {
    "fd": "/proc/self/fd",
    "stdin": "/proc/self/fd/0",
    "stdout": "/proc/self/fd/1",
    "stderr": "/proc/self/fd/2",
    "ptmx": "pts/ptmx",
}
KINDS = {"b": stat.S_IFBLK, "c": stat.S_IFCHR, "u": stat.S_IFCHR, "p": stat.S_IFIFO}


def make_devices(root: Root, wanted: Sequence[Device], *, bound: bool, prepared: Mapping[str, int]) -> None:
    """Make *wanted* and what every container has. *bound*: bind the machine's nodes, since none can be made. *prepared*: path →
    a node that was made before."""
    named = {device.path.rstrip("/") for device in wanted}
    for device in (*wanted, *(one for one in _DEFAULT if one.path not in named)):
        try:
            if device.path in prepared:
                root.attach(prepared[device.path], device.path, directory=False)
                continue
            _make(root, device, bound=bound, default=device in _DEFAULT)
        except OSError as error:
            raise ContainerError(f"cannot make the device `{device.path}`: {error.strerror}") from error
    directory = root.directory("/dev")
    try:
        for name, target in _LINKS.items():
            _link(directory, name, target)
    finally:
        os.close(directory)


def _link(directory: int, name: str, target: str) -> None:
    try:
        os.symlink(target, name, dir_fd=directory)
    except FileExistsError:
        # The image's own, or a /dev that is bound from the machine; `ptmx` may be a node there.
        return
    except OSError as error:
        if error.errno != errno.EROFS:
            raise


def _make(root: Root, device: Device, *, bound: bool, default: bool) -> None:
    parent, _, name = device.path.rstrip("/").rpartition("/")
    if not device.path.startswith("/") or name in ("", ".", ".."):
        raise ContainerError(f"not a place for a device: `{device.path}`")
    if bound:
        _bind(root, device)
        return
    directory = root.directory(parent)
    try:
        number = os.makedev(device.major, device.minor) if device.kind != "p" else 0
        mode = 0o666 if device.mode is None else stat.S_IMODE(device.mode)
        try:
            os.mknod(name, KINDS[device.kind] | mode, number, dir_fd=directory)
        except FileExistsError:
            status = os.stat(name, dir_fd=directory, follow_symlinks=False)
            if default and stat.S_ISCHR(status.st_mode):
                return
            if (stat.S_IFMT(status.st_mode), status.st_rdev) != (KINDS[device.kind], number):
                raise
        except PermissionError:
            _bind(root, device)
            return
        node = libc.openat2(directory, name, os.O_PATH | os.O_CLOEXEC, resolve=RESOLVE_NO_SYMLINKS)
        try:
            os.chown(f"/proc/self/fd/{node}", device.uid, device.gid)
            os.chmod(f"/proc/self/fd/{node}", mode)
        finally:
            os.close(node)
    finally:
        os.close(directory)


def _bind(root: Root, device: Device) -> None:
    if device.kind == "p":
        parent, _, name = device.path.rstrip("/").rpartition("/")
        directory = root.directory(parent)
        os.mkfifo(name, 0o666 if device.mode is None else device.mode, dir_fd=directory)
        os.close(directory)
        return
    tree = mounts.clone_tree(device.path.rstrip("/"))
    mounts.set_attributes(tree, mounts.ATTR_NOSUID | mounts.ATTR_NOEXEC)
    root.attach(tree, device.path, directory=False)
