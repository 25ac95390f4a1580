"""The calls of the kernel's mount API (Linux 5.2 and later), one typed function each. Flags are named in `mounts.py`.

Failures are `libc.KernelError`. Numbers of the calls: asm-generic/unistd.h, the same on every architecture.
"""

from __future__ import annotations

import os
import struct

from runtime.kernel.libc import AT_FDCWD, system_call

_OPEN_TREE = 428
_MOVE_MOUNT = 429
_FSOPEN = 430
_FSCONFIG = 431
_FSMOUNT = 432
_MOUNT_SETATTR = 442


def open_tree(path: str | os.PathLike[str], flags: int, *, at: int = AT_FDCWD) -> int:
    """open_tree(2)."""
    return system_call(_OPEN_TREE, at, os.fsencode(path), flags, shown=f"open_tree({at}, {os.fspath(path)!r}, {flags:#x})")


def move_mount(tree: int, target: int, path: str = "", flags: int = 0) -> None:
    """move_mount(2): attach the detached *tree* at *path* below the descriptor *target*."""
    shown = f"move_mount({tree}, '', {target}, {path!r}, {flags:#x})"
    system_call(_MOVE_MOUNT, tree, b"", target, path.encode(), flags, shown=shown)


def mount_setattr(
    fd: int, path: str, flags: int, *, set_attr: int = 0, clear: int = 0, propagation: int = 0, userns: int = 0
) -> None:
    """mount_setattr(2)."""
    attributes = struct.pack("QQQQ", set_attr, clear, propagation, userns)
    shown = f"mount_setattr({fd}, {path!r}, {flags:#x}, set={set_attr:#x}, clear={clear:#x}, userns={userns})"
    system_call(_MOUNT_SETATTR, fd, path.encode(), flags, attributes, len(attributes), shown=shown)


def fsopen(fstype: str, flags: int = 1) -> int:
    """fsopen(2); FSOPEN_CLOEXEC by default."""
    return system_call(_FSOPEN, fstype.encode(), flags, shown=f"fsopen({fstype!r}, {flags:#x})")


def fsconfig(fd: int, command: int, key: str | None = None, value: str | None = None, aux: int = 0) -> None:
    """fsconfig(2). On failure the file system's own words are read from *fd* into the error."""
    words = (None if key is None else key.encode(), None if value is None else os.fsencode(value))
    shown = f"fsconfig({fd}, {command}, {key!r}, {value!r}, {aux})"
    system_call(_FSCONFIG, fd, command, *words, aux, shown=shown, detail=lambda: _fs_words(fd))


def _fs_words(fd: int) -> str:
    """What the file system wrote into its context's log, one message a read."""
    words: list[str] = []
    try:
        while len(words) < 8:
            words.append(os.read(fd, 4096).decode(errors="replace").strip())
    except OSError:  # ENODATA: no more messages
        return "; ".join(words)
    return "; ".join(words)


def fsmount(fd: int, attributes: int = 0) -> int:
    """fsmount(2) with FSMOUNT_CLOEXEC: a detached mount."""
    return system_call(_FSMOUNT, fd, 1, attributes, shown=f"fsmount({fd}, {attributes:#x})")
