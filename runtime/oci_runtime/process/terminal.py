"""The terminal of a container: made in its own devpts, handed to whoever listens at `--console-socket`, or shown on ours.

Everything is resolved inside the root and checked to be a terminal: an image must not make us open something else
(CVE-2025-52565).
"""

from __future__ import annotations

import fcntl
import os
import select
import signal
import socket
import stat
import struct
import termios
import tty
from pathlib import Path

from runtime.errors import ContainerError
from runtime.kernel import mounts
from runtime.kernel.safe_open import open_in_root
from runtime.rootfs.targets import Root

_TIOCGPTPEER = 0x5441
_PTMX = os.makedev(5, 2)
_CHUNK = 1 << 16


def connect_console(path: Path) -> socket.socket:
    """A connection to the socket that wants the terminal."""
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    try:
        connection.connect(str(path))
    except OSError as error:
        connection.close()
        raise ContainerError(f"cannot connect to the console socket `{path}`: {os.strerror(error.errno or 0).lower()}") from error
    return connection


def open_terminal(root_fd: int) -> tuple[int, int]:
    """A new terminal of the container at *root_fd*: master and slave."""
    try:
        master = open_in_root(root_fd, "dev/pts/ptmx", os.O_RDWR | os.O_NOCTTY)
    except FileNotFoundError:
        master = open_in_root(root_fd, "dev/ptmx", os.O_RDWR | os.O_NOCTTY)
    status = os.fstat(master)
    if not stat.S_ISCHR(status.st_mode) or status.st_rdev != _PTMX:
        os.close(master)
        raise ContainerError("the container's `/dev/pts/ptmx` makes no terminals")
    fcntl.ioctl(master, termios.TIOCSPTLCK if hasattr(termios, "TIOCSPTLCK") else 0x40045431, struct.pack("i", 0))
    slave = fcntl.ioctl(master, _TIOCGPTPEER, os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC)
    return master, slave


def give_console(root: Root, slave: int) -> None:
    """Show the terminal as /dev/console."""
    root.attach(mounts.clone_tree("", at=slave), "/dev/console", directory=False)


def send_master(console: socket.socket, master: int) -> None:
    """Hand the terminal over (runc's docs/terminals.md: one message, its name and the descriptor)."""
    socket.send_fds(console, [b"/dev/ptmx"], [master])


def receive_master(console: socket.socket) -> int:
    """The other side of `send_master`."""
    _data, fds, _flags, _address = socket.recv_fds(console, 64, 1)
    if not fds:
        raise ContainerError("the container made no terminal")
    os.set_inheritable(fds[0], False)
    return fds[0]


def set_size(terminal: int, rows: int, columns: int) -> None:
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))


def control(slave: int) -> None:
    """Make the terminal this session's, and its three streams."""
    fcntl.ioctl(slave, termios.TIOCSCTTY, 0)
    for number in (0, 1, 2):
        os.dup2(slave, number)


class Relay:
    """Our own terminal, raw, in front of a container's: what is typed goes in and what is printed comes out."""

    def __init__(self, master: int) -> None:
        self.master = master
        self._before: list[int | list[bytes | int]] | None = None
        self._input_open = True

    def __enter__(self) -> Relay:
        if os.isatty(0):
            self._before = termios.tcgetattr(0)
            tty.setraw(0)
            self.resize()
            signal.signal(signal.SIGWINCH, lambda *_: self.resize())
        return self

    def __exit__(self, *_failure: object) -> None:
        if self._before is not None:
            termios.tcsetattr(0, termios.TCSADRAIN, self._before)

    def resize(self) -> None:
        """Give the container's terminal the size of ours."""
        size = fcntl.ioctl(0, termios.TIOCGWINSZ, b"\0" * 8)
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, size)

    def step(self, timeout_s: float) -> bool:
        """Carry what there is. False when the container's side has ended."""
        watched = [self.master, 0] if self._input_open else [self.master]
        ready, _, _ = select.select(watched, [], [], timeout_s)
        if 0 in ready:
            typed = os.read(0, _CHUNK)
            self._input_open = bool(typed)
            _write_all(self.master, typed or b"\x04")
        if self.master in ready:
            try:
                said = os.read(self.master, _CHUNK)
            except OSError:  # EIO: nobody has the other side open any more
                return False
            _write_all(1, said)
            return bool(said)
        return True


def _write_all(fd: int, content: bytes) -> None:
    while content:
        content = content[os.write(fd, content) :]
