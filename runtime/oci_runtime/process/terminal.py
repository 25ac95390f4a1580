"""The terminal of a container (`runtime.container.pty`), handed to whoever listens at `--console-socket`, or shown on ours."""

from __future__ import annotations

import os
import select
import signal
import socket
import termios
import tty
from pathlib import Path

from runtime.container import pty
from runtime.errors import ContainerError
from runtime.kernel import mounts
from runtime.oci.runtime_config import Process
from runtime.rootfs.targets import Root
from runtime.whole_file import write_all

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


def take_new_terminal(root: Root, process: Process, console: socket.socket | None, *, as_console: bool = False) -> None:
    """Make a terminal in the devpts of *root*, which becomes this session's and its three streams; its master goes to *console*
    (runc's docs/terminals.md: one message, its name and the descriptor). *as_console* shows it as /dev/console."""
    if console is None:
        raise ContainerError("the process needs a terminal", hint="`--console-socket` says who gets it")
    master, slave = pty.open_pty(root.fd, *(process.console_size or (0, 0)))
    if as_console:
        root.attach(mounts.clone_tree("", at=slave), "/dev/console", directory=False)
    socket.send_fds(console, [b"/dev/ptmx"], [master])
    os.close(master)
    pty.take_terminal(slave, process.user.uid)


def receive_master(console: socket.socket) -> int:
    """The master that `take_new_terminal` sent."""
    _data, fds, _flags, _address = socket.recv_fds(console, 64, 1)
    if not fds:
        raise ContainerError("the container made no terminal")
    os.set_inheritable(fds[0], False)
    return fds[0]


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
        pty.set_size(self.master, *pty.size_of(0))

    def step(self, timeout_s: float) -> bool:
        """Carry what there is. False when the container's side has ended."""
        watched = [self.master, 0] if self._input_open else [self.master]
        ready, _, _ = select.select(watched, [], [], timeout_s)
        if 0 in ready:
            typed = os.read(0, _CHUNK)
            self._input_open = bool(typed)
            write_all(self.master, typed or b"\x04")
        if self.master in ready:
            try:
                said = os.read(self.master, _CHUNK)
            except OSError:  # EIO: nobody has the other side open any more
                return False
            write_all(1, said)
            return bool(said)
        return True
