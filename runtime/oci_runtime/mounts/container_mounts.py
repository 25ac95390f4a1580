"""The mounts of a bundle, made inside its root file system before the root is changed.

Each mount is complete before it is attached, at a place that the kernel resolved inside the root (CVE-2021-30465). That a mount
is read-only comes last of all: what lies deeper needs its mount points made.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Mapping, Sequence
from pathlib import Path

from runtime.errors import ContainerError
from runtime.kernel import libc, mounts
from runtime.kernel.safe_open import RESOLVE_NO_SYMLINKS, open_in_root
from runtime.oci.runtime_config import Mount
from runtime.oci_runtime.mounts.cgroup_mount import mount_cgroups
from runtime.oci_runtime.mounts.mount_options import MountPlan, default_options, plan_mount
from runtime.rootfs.targets import Root

_CHUNK = 1 << 20
_MOST_LINKS = 40
_LONGEST_OPTION = 255  # fsconfig(2) takes no longer value

_WITHOUT_LABEL = ("proc", "sysfs", "mqueue")  # they have the kernel's own
_BOUND_WHEN_REFUSED = {"sysfs": "/sys", "mqueue": "/dev/mqueue"}


class ContainerMounts:
    """The mounts of one container while they are made."""

    def __init__(
        self, root: Root, bundle: Path, *, prepared: Mapping[int, int], own_cgroup_namespace: bool, label: str | None
    ) -> None:
        self.root = root
        self._bundle = bundle
        self._prepared = prepared
        self._own_cgroup_namespace = own_cgroup_namespace
        self._label = label
        self._read_only: list[tuple[int, bool]] = []

    def mount_all(self, wanted: Sequence[Mount]) -> None:
        """Make every mount, in the order of the document."""
        for index, mount in enumerate(wanted):
            try:
                self._mount(index, mount)
            except OSError as error:
                raise ContainerError(f"cannot mount `{mount.source or mount.kind}` at `{mount.destination}`: {error}") from error

    def make_read_only(self) -> None:
        """The last step: what shall be read-only becomes so."""
        for tree, recursive in self._read_only:
            mounts.set_attributes(tree, mounts.ATTR_RDONLY, recursive=recursive)
            os.close(tree)

    def _mount(self, index: int, mount: Mount) -> None:
        plan = plan_mount(mount.kind, mount.options or default_options(mount.destination))
        if plan.remount:
            self._remount(mount, plan)
        elif mount.kind == "cgroup" and not plan.bind:
            tree = mount_cgroups(self.root, mount.destination, plan, own_namespace=self._own_cgroup_namespace)
            self._finish(tree, plan._replace(cleared=0))
        elif plan.bind:
            self._bind(index, mount, plan)
        elif not mount.kind:
            raise ContainerError(f"the mount at `{mount.destination}` has no type")
        else:
            self._new_file_system(mount, mount.kind, plan)

    def _remount(self, mount: Mount, plan: MountPlan) -> None:
        point = open_in_root(self.root.fd, mount.destination.strip("/") or ".")
        self._finish(point, plan)

    def _bind(self, index: int, mount: Mount, plan: MountPlan) -> None:
        source = bind_source(mount, self._bundle)
        if plan.copy_symlink and os.path.islink(source):
            self._copy_symlink(source, mount.destination)
            return
        tree = self._prepared.get(index, -1)
        if tree < 0:
            tree = clone_source(source, plan)
        self._attach(tree, mount.destination, directory=stat.S_ISDIR(os.fstat(tree).st_mode))
        self._finish(tree, plan)

    def _copy_symlink(self, source: Path, destination: str) -> None:
        parent, _, name = destination.rstrip("/").rpartition("/")
        directory = self.root.directory(parent or "/")
        try:
            os.symlink(os.readlink(source), name, dir_fd=directory)
        except FileExistsError:
            if os.readlink(name, dir_fd=directory) != os.readlink(source):
                raise
        finally:
            os.close(directory)

    def _new_file_system(self, mount: Mount, kind: str, plan: MountPlan) -> None:
        if kind in ("proc", "sysfs"):
            self._refuse_link(mount.destination)
        point = self._point(mount.destination, directory=True)
        try:
            data = dict(plan.data)
            if kind == "tmpfs" and "mode" not in data:
                data["mode"] = f"{stat.S_IMODE(os.fstat(point).st_mode):o}"
            if self._label and kind not in _WITHOUT_LABEL:
                data["context"] = self._label
            tree, attached = self._tree(mount, kind, plan, data, point)
            if plan.copy_up:
                _copy_up(point, tree)
        finally:
            os.close(point)
        if not attached:
            self._attach(tree, mount.destination, directory=True)
        self._finish(tree, plan._replace(attributes=plan.attributes & mounts.ATTR_RDONLY, cleared=0))

    def _tree(self, mount: Mount, kind: str, plan: MountPlan, data: dict[str, str | None], point: int) -> tuple[int, bool]:
        """A mount of a new file system, and whether it is attached at *point* already: where only mount(2) can make it."""
        attributes = plan.attributes & ~mounts.ATTR_RDONLY
        source = mount.source or kind
        try:
            if any(len(value or "") > _LONGEST_OPTION for value in data.values()):
                raise OSError(errno.EINVAL, "a long option")
            with mounts.FileSystem(kind) as filesystem:
                filesystem.set_string("source", source)
                for flag in plan.superblock_flags:
                    filesystem.set_flag(flag)
                if plan.attributes & mounts.ATTR_RDONLY and source.startswith("/"):
                    filesystem.set_flag("ro")
                for key, value in data.items():
                    if value is None:
                        filesystem.set_flag(key)
                    else:
                        filesystem.set_string(key, value)
                return filesystem.create(attributes), False
        except OSError as error:
            if error.errno == errno.EPERM and kind in _BOUND_WHEN_REFUSED:
                # In a user namespace without a network namespace of its own there is no sysfs to be had: the machine's, then.
                return mounts.clone_tree(_BOUND_WHEN_REFUSED[kind], recursive=True), False
            return self._by_mount2(source, kind, data, attributes, point, mount.destination, error), True

    def _by_mount2(
        self, source: str, kind: str, data: dict[str, str | None], attributes: int, point: int, target: str, before: OSError
    ) -> int:
        text = ",".join(key if value is None else f"{key}={value}" for key, value in data.items())
        try:
            libc.mount(source, f"/proc/self/fd/{point}", kind, 0, text)
        except OSError as error:
            if before.errno not in (errno.EINVAL, errno.ENOSYS):
                raise before from error
            raise
        tree = open_in_root(self.root.fd, target.strip("/") or ".")
        mounts.set_attributes(tree, attributes)
        return tree

    def _refuse_link(self, destination: str) -> None:
        """/proc and /sys may be mounted where the image has a directory or nothing: a link would move them elsewhere."""
        try:
            os.close(open_in_root(self.root.fd, destination.strip("/"), resolve=RESOLVE_NO_SYMLINKS))
        except FileNotFoundError:
            return
        except OSError as error:
            if error.errno == errno.ELOOP:
                raise ContainerError(f"`{destination}` is a symbolic link in the image") from error
            raise

    def _attach(self, tree: int, destination: str, *, directory: bool) -> None:
        if not destination.strip("/"):
            mounts.attach(tree, self.root.fd)
            os.dup2(tree, self.root.fd, inheritable=False)
            return
        point = self._point(destination, directory=directory)
        try:
            mounts.attach(tree, point)
        finally:
            os.close(point)

    def _point(self, destination: str, *, directory: bool) -> int:
        """A descriptor of the mount point, made if the image has none."""
        make = self.root.directory if directory else self.root.file
        try:
            return make(destination)
        except ContainerError as error:
            if not isinstance(error.__cause__, FileExistsError):
                raise
            # A link that leads nowhere: what it names is made.
            return make(_follow_links(self.root.fd, destination))

    def _finish(self, tree: int, plan: MountPlan) -> None:
        """Attributes and propagation of an attached mount; closes it, now or when it has become read-only."""
        writable = mounts.ATTR_RDONLY
        if plan.attributes & ~writable or plan.cleared:
            mounts.set_attributes(tree, plan.attributes & ~writable, clear=plan.cleared)
        if plan.all_attributes & ~writable or plan.all_cleared:
            mounts.set_attributes(tree, plan.all_attributes & ~writable, clear=plan.all_cleared, recursive=True)
        if plan.propagation:
            mounts.set_attributes(tree, propagation=plan.propagation, recursive=plan.propagation_recursive)
        if (plan.attributes | plan.all_attributes) & writable:
            self._read_only.append((tree, bool(plan.all_attributes & writable)))
        else:
            os.close(tree)


def bind_source(mount: Mount, bundle: Path) -> Path:
    """The file that a bind mount shows; a relative one lies in the bundle."""
    if not mount.source:
        raise ContainerError(f"the bind mount at `{mount.destination}` has no source")
    return bundle / mount.source


def clone_source(source: Path, plan: MountPlan) -> int:
    """A detached copy of the mount at *source*."""
    if plan.source_is_not_followed:
        fd = os.open(source, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            return mounts.clone_tree("", at=fd, recursive=plan.recursive)
        finally:
            os.close(fd)
    return mounts.clone_tree(source, recursive=plan.recursive)


def _follow_links(root_fd: int, path: str) -> str:
    """*path* with every link followed inside the root, whether or not there is something: `/etc/resolv.conf` of a systemd's image
    leads nowhere yet, and engines expect the target to be made (runc does so). It is a wish only: what is made is made by
    `safe_open`, which cannot leave the root."""
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


def _copy_up(below: int, tree: int) -> None:
    """`tmpcopyup`: copy the content of the directory *below*, the image's, into the directory *tree*, owners, modes and links
    included."""
    source = os.open(f"/proc/self/fd/{below}", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    target = os.open(f"/proc/self/fd/{tree}", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        _copy_directory(source, target)
    finally:
        os.close(source)
        os.close(target)


def _copy_directory(source: int, target: int) -> None:
    for name in os.listdir(source):
        status = os.stat(name, dir_fd=source, follow_symlinks=False)
        if stat.S_ISDIR(status.st_mode):
            os.mkdir(name, 0o700, dir_fd=target)
            below, made = _open_directory(name, source), _open_directory(name, target)
            try:
                _copy_directory(below, made)
            finally:
                os.close(below)
                os.close(made)
        elif stat.S_ISLNK(status.st_mode):
            os.symlink(os.readlink(name, dir_fd=source), name, dir_fd=target)
        elif stat.S_ISREG(status.st_mode):
            _copy_file(name, source, target)
        else:
            os.mknod(name, status.st_mode, status.st_rdev, dir_fd=target)
        os.chown(name, status.st_uid, status.st_gid, dir_fd=target, follow_symlinks=False)
        if not stat.S_ISLNK(status.st_mode):
            os.chmod(name, stat.S_IMODE(status.st_mode), dir_fd=target)


def _open_directory(name: str, directory: int) -> int:
    return os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=directory)


def _copy_file(name: str, source: int, target: int) -> None:
    with open(os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=source), "rb", buffering=0) as read:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        with open(os.open(name, flags, 0o600, dir_fd=target), "wb", buffering=0) as written:
            while chunk := read.read(_CHUNK):
                written.write(chunk)
