"""A pseudo-terminal of the container's own devpts, made by a process that is inside; its master goes out through a socket.

So the program's terminal is the container's (`tty`, `/dev/pts/0`, `ps`), and the caller's own terminal is never inside.
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat
import struct
import termios
from contextlib import suppress

from runtime.errors import ContainerError
from runtime.kernel import libc
from runtime.kernel.safe_open import open_in_root

_MULTIPLEXER = os.makedev(5, 2)
_DEVPTS_MAGIC = 0x1CD1
_TIOCSPTLCK = 0x40045431
_TIOCGPTPEER = 0x5441


def open_pty(root: int, rows: int, columns: int) -> tuple[int, int]:
    """Master and slave of a new pseudo-terminal of the container whose root is the directory *root*, both close-on-exec. Raises
    ContainerError where it has none to give.

    Trusts no path: the multiplexer is looked at before it is asked (CVE-2025-52565), and the slave comes from the master.
    """
    try:
        master = open_in_root(root, "dev/pts/ptmx", os.O_RDWR | os.O_NOCTTY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError as error:
        raise _none(error) from error
    try:
        found = os.fstat(master)
        if not stat.S_ISCHR(found.st_mode) or found.st_rdev != _MULTIPLEXER or libc.fstatfs_type(master) != _DEVPTS_MAGIC:
            raise ContainerError("the container's /dev/pts/ptmx is no terminal multiplexer any more")
        fcntl.ioctl(master, _TIOCSPTLCK, struct.pack("i", 0))
        slave = fcntl.ioctl(master, _TIOCGPTPEER, os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC)
        set_size(slave, rows, columns)
        os.set_blocking(master, True)
    except BaseException:
        os.close(master)
        raise
    return master, slave


def _none(error: OSError) -> ContainerError:
    why = "it has used up its pseudo-terminals" if error.errno == errno.ENOSPC else os.strerror(error.errno or 0).lower()
    return ContainerError(f"the container gives no terminal: {why}")


def set_size(terminal: int, rows: int, columns: int) -> None:
    """TIOCSWINSZ: who has *terminal* as its own gets SIGWINCH."""
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", rows & 0xFFFF, columns & 0xFFFF, 0, 0))


def size_of(terminal: int) -> tuple[int, int]:
    """Rows and columns."""
    rows, columns, _x, _y = struct.unpack("HHHH", fcntl.ioctl(terminal, termios.TIOCGWINSZ, bytes(8)))
    return rows, columns


def take_terminal(slave: int, uid: int) -> None:
    """Make *slave* the controlling terminal of this session leader and its descriptors 0 to 2."""
    fcntl.ioctl(slave, termios.TIOCSCTTY, 0)
    # Who opens its terminal by name (gpg, screen) must be its owner. With a single id it is already.
    with suppress(OSError):
        os.fchown(slave, uid, -1)
    for fd in (0, 1, 2):
        os.dup2(slave, fd)
    if slave > 2:
        os.close(slave)
