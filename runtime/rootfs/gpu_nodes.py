"""The nodes of a container's GPUs, closed to everybody in it while nobody uses it, and opened again (`dev.gpu_idle`).

The mount of a node gets or loses `nodev`, with which open(2) says EACCES (mount_setattr(2)). Nothing is unmounted or made, and
who has a node open keeps it. That needs CAP_SYS_ADMIN in the container's user namespace, which init has and nobody else inside.
"""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Iterable, Sequence

from runtime.kernel import libc, mounts

_OF_A_GPU = re.compile(r"/dev/(nvidia\d+|nvidia-caps/.+|dri/.+)")
"""Not those that all GPUs have in common (nvidiactl, nvidia-uvm, kfd): a context needs one of these, too."""


def nodes_of_gpus(targets: Iterable[str]) -> tuple[str, ...]:
    """Those of *targets*, paths in the container, that belong to a single GPU."""
    return tuple(target for target in targets if _OF_A_GPU.fullmatch(target))


class GpuNodes:
    """*nodes*, and the descriptors that hold the lease of their GPUs (*lease*), which is given up while they are closed."""

    def __init__(self, nodes: Sequence[str], lease: Sequence[int]) -> None:
        self._nodes = nodes
        self._lease = tuple(lease)
        self.state = "held"
        """`held`, `given back`, or `wanted`: given back, and somebody uses the container again."""

    def close(self) -> bool:
        """Close them and give up the lease. False when somebody has one open, or moved one away: then nothing has changed."""
        try:
            if any(map(_is_open, self._nodes)):
                return False
            self._set_attributes(mounts.ATTR_NODEV)
            # Again: between the first look and this moment somebody may have opened one.
            if any(map(_is_open, self._nodes)):
                self._set_attributes(clear=mounts.ATTR_NODEV)
                return False
        except OSError:
            self._set_attributes(clear=mounts.ATTR_NODEV)
            return False
        for fd in self._lease:
            os.close(fd)
        self._lease, self.state = (), "given back"
        return True

    def open(self, lease: Sequence[int]) -> None:
        """Open them: *lease* holds their GPUs again."""
        for fd in self._lease:
            os.close(fd)
        self._lease, self.state = tuple(lease), "held"
        self._set_attributes(clear=mounts.ATTR_NODEV)

    def _set_attributes(self, attributes: int = 0, *, clear: int = 0) -> None:
        for node in self._nodes:
            try:
                mounts.mount_setattr(libc.AT_FDCWD, node, 0, set_attr=attributes, clear=clear)
            except OSError:
                if not clear:
                    raise  # else it was moved away by root inside, whose affair that is


def _is_open(node: str) -> bool:
    """Whether anybody has *node* open: its mount is in use then (umount2(2))."""
    os.stat(node)  # takes away an earlier mark, with which the next call would unmount it
    try:
        libc.umount(node, mounts.MNT_EXPIRE)
    except OSError as error:
        if error.errno == errno.EAGAIN:
            return False
        if error.errno == errno.EBUSY:
            return True
        raise
    raise OSError(errno.ENODEV, "a node was unmounted")
