"""The root file system of a container: an overlay of its layers and a writable directory (overlayfs.rst), as a detached mount.

The kernel can take the layers in these ways, from new to old:

    DESCRIPTORS   each layer a detached mount, by `fsconfig(SET_FD, "lowerdir+")`      (6.13, with id maps 6.15)
    OPTIONS       each layer attached below a tmpfs, all named in one string of mount(2), which is a page at most: the names are
                  short, so that 500 layers fit                                       (any; with id maps 5.19)
    SHIFTED       root before 5.19, or where the layers lie on what has no id-mapped mounts (NFS, FUSE): copies of the layers
                  that belong to the container's ids (see `shifted_copy.py`); the writable directory is on disk in those ids too,
                  so who takes a layer of it shifts it back

For root every layer comes through an id-mapped mount, and the writable directory through one with the swap map of
`id_maps.swap_map`, so that the container's ids are an unprivileged range while everything on disk stays 0-based. Must be called
in the initial user namespace then, in a private mount namespace, by a process that ends soon.
"""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from enum import StrEnum
from pathlib import Path

from runtime.errors import ContainerError, Unsupported
from runtime.kernel import libc, mounts
from runtime.light_dataclasses import dataclass
from runtime.rootfs.shifted_copy import make_shifted_copy, shift_owners

MOST_LAYERS = 500
"""Linux takes no more (fs/overlayfs/params.c, OVL_MAX_STACK)."""

UPPER = "u"
WORK = "w"


class OverlayStrategy(StrEnum):
    DESCRIPTORS = "layers by descriptor"
    OPTIONS = "layers attached, in one mount(2) string"
    SHIFTED = "shifted copies of the layers"


STRATEGIES = tuple(OverlayStrategy)

# What older kernels answer to a call or a parameter that they don't know.
_TOO_OLD = {errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP, errno.EBADF, errno.EPERM, errno.ELOOP}


@dataclass(frozen=True, slots=True)
class LayerMaps:
    """User namespaces (descriptors) whose maps the layers and the writable directory are shown through; None: as they are."""

    layers: int | None = None
    upper: int | None = None
    shift: tuple[int, int] | None = None
    """For root: the first uid and gid of the container's range."""


def make_writable_directories(overlay_dir: Path) -> None:
    """`u` and `w` below *overlay_dir*, made if missing."""
    for name in (UPPER, WORK):
        (overlay_dir / name).mkdir(mode=0o755, parents=True, exist_ok=True)
    # The root directory of the container is `u`: its mode must not depend on the caller's umask.
    (overlay_dir / UPPER).chmod(0o755)


def mount_overlay(
    layers: Sequence[Path], overlay_dir: Path, *, maps: LayerMaps, strategies: Sequence[OverlayStrategy] = STRATEGIES
) -> tuple[int, OverlayStrategy]:
    """A detached overlay of *layers* (bottom first) with the writable directory in *overlay_dir*, and how it was made."""
    layers = _topmost_of_each(layers)
    if not layers:
        raise ContainerError("a container needs at least one layer")
    if len(layers) > MOST_LAYERS:
        raise Unsupported(
            f"{len(layers)} layers, and Linux stacks {MOST_LAYERS} at most", hint="put some requirements into one wheel"
        )
    failure: OSError | None = None
    unmapped: NotMappable | None = None
    for strategy in strategies:
        copies_help = maps.shift is not None and (unmapped is not None or _before_id_mapped_layers())
        if strategy is OverlayStrategy.SHIFTED and len(strategies) > 1 and not copies_help:
            continue  # a copy of everything would fail for the same reason
        try:
            return _MAKERS[strategy](layers, overlay_dir, maps), strategy
        except NotMappable as error:
            unmapped = error
        except OSError as error:
            if error.errno not in _TOO_OLD:
                raise _explain(error, overlay_dir) from error
            failure = failure or error
    if unmapped is not None:
        raise unmapped
    assert failure is not None, "there is a strategy"
    raise _explain(failure, overlay_dir) from failure


def _clone_mapped(path: Path, userns: int | None) -> int:
    """A detached copy of the mount at *path*, through the map of *userns*."""
    tree = mounts.clone_tree(path)
    if userns is None:
        return tree
    try:
        mounts.id_map(tree, userns)
    except OSError as error:
        os.close(tree)
        if error.errno in (errno.EINVAL, errno.EPERM, errno.EOPNOTSUPP):
            raise NotMappable(path) from error
        raise
    return tree


class NotMappable(Unsupported):
    """The file system of *path* has no id-mapped mounts."""

    def __init__(self, path: Path) -> None:
        kind = mounts.file_system_name(path)
        super().__init__(
            f"files below `{path}` can't be shown to a container with other owners: its file system is {kind}",
            hint="root's containers need ext4, xfs, btrfs or tmpfs (Linux 5.19 or later); set LAUNCH_HOME to a directory on one, "
            "`cluster.node_store` to one that keeps copies of the layers, or run as an ordinary user",
        )


def _options(maps: LayerMaps) -> dict[str, str | None]:
    # `volatile`: the writable directory is thrown away, so syncing it to disk would only cost the program time.
    options: dict[str, str | None] = {"volatile": None}
    if maps.shift is None:
        options["userxattr"] = None  # an ordinary user can't write trusted.overlay.*
    else:
        # The layer differ reads `u` as it lies: no directory may be a redirect, no file a bare copy of metadata.
        options |= {"redirect_dir": "off", "metacopy": "off", "index": "off"}
    return options


def _topmost_of_each(layers: Sequence[Path]) -> list[Path]:
    """*layers* without lower doubles: an imported base may hold the very layer that comes on top of it again, and overlayfs
    refuses a directory that it has already (ELOOP). Whatever a lower double shows, its upper twin shows too."""
    return list(dict.fromkeys(reversed(layers)))[::-1]


def _by_descriptor(layers: Sequence[Path], overlay_dir: Path, maps: LayerMaps) -> int:
    # A detached tree dissolves when its descriptor is closed, so all stay open until the overlay is created. After that they are
    # left to whoever closes all descriptors: each costs 50 µs to dissolve (an RCU grace period), and nobody shall wait for it.
    with mounts.FileSystem("overlay") as overlay:
        overlay.set_string("source", "overlay")
        for layer in reversed(layers):
            overlay.set_fd("lowerdir+", _clone_mapped(layer, maps.layers))
        writable = _clone_mapped(overlay_dir, maps.upper)
        for key, name in (("upperdir", UPPER), ("workdir", WORK)):
            overlay.set_fd(key, os.open(name, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=writable))
        for key, value in _options(maps).items():
            if value is None:
                overlay.set_flag(key)
            else:
                overlay.set_string(key, value)
        return overlay.create()


def _hold(held: ExitStack, fd: int) -> int:
    held.callback(os.close, fd)
    return fd


def _by_options(layers: Sequence[Path], overlay_dir: Path, maps: LayerMaps) -> int:
    with _attach_layers(layers, overlay_dir, maps) as names:
        words = [f"lowerdir={':'.join(reversed(names))}", f"upperdir=w/{UPPER}", f"workdir=w/{WORK}"]
        words += [key if value is None else f"{key}={value}" for key, value in _options(maps).items()]
        os.mkdir("m")
        libc.mount("overlay", "m", "overlay", options=",".join(words))
        # From attached to detached, as the other strategies return it.
        return mounts.clone_tree("m")


@contextmanager
def _attach_layers(layers: Sequence[Path], overlay_dir: Path, maps: LayerMaps) -> Iterator[list[str]]:
    """Attach the layers at `0`, `1`, … and *overlay_dir* at `w` of a tmpfs, and work there: the names stay short."""
    with ExitStack() as held:
        names = [f"{number:x}" for number in range(len(layers))]
        trees = {name: _hold(held, _clone_mapped(layer, maps.layers)) for name, layer in zip(names, layers, strict=True)}
        trees["w"] = _hold(held, _clone_mapped(overlay_dir, maps.upper))
        before = _hold(held, os.open(".", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC))
        # Covers *overlay_dir* in this private mount namespace for a moment; everything below was opened before.
        room = _hold(held, mounts.new_mount("tmpfs", {"mode": "755"}))
        place = _hold(held, os.open(overlay_dir, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC))
        mounts.attach(room, place)
        held.callback(libc.umount, overlay_dir, mounts.MNT_DETACH)
        held.callback(os.fchdir, before)
        os.fchdir(room)
        for name, tree in trees.items():
            os.mkdir(name)
            target = os.open(name, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                mounts.attach(tree, target)
            finally:
                os.close(target)
        yield names


def _by_shifted_copies(layers: Sequence[Path], overlay_dir: Path, maps: LayerMaps) -> int:
    if maps.shift is None:
        raise Unsupported("only root can make shifted copies of layers")
    uid, gid = maps.shift
    shift_owners(overlay_dir / UPPER, uid, gid)
    return _by_options([make_shifted_copy(layer, uid, gid) for layer in layers], overlay_dir, LayerMaps(shift=maps.shift))


def _before_id_mapped_layers() -> bool:
    major, minor = (int(part) for part in re.findall(r"\d+", os.uname().release)[:2])
    return (major, minor) < (5, 19)


_MAKERS = {
    OverlayStrategy.DESCRIPTORS: _by_descriptor,
    OverlayStrategy.OPTIONS: _by_options,
    OverlayStrategy.SHIFTED: _by_shifted_copies,
}


def _explain(error: OSError, overlay_dir: Path) -> Unsupported | ContainerError:
    kind = mounts.file_system_name(overlay_dir)
    if kind in ("overlay", "nfs", "fuse", "cifs", "smb3", "lustre"):
        return Unsupported(
            f"a container's writable directory can't lie on {kind} (`{overlay_dir}`)",
            hint="set LAUNCH_HOME to a directory on a local file system (ext4, xfs, btrfs), in a container to a volume",
        )
    if error.errno == errno.ENODEV:
        return Unsupported("this kernel has no overlayfs", hint="`modprobe overlay` as root")
    if error.errno == errno.EPERM:
        return Unsupported(
            f"overlayfs in a user namespace is not allowed here: {error.strerror}", hint="it needs Linux 5.11 or later, or root"
        )
    return ContainerError(f"the layers can't be stacked: {error.strerror}")
