"""Supervisors that are ready before they are needed: one process that has imported everything, and forks.

The command starts it first thing, so that it warms up while the command composes, plans and builds; a sweep's trials cost a fork
each. Asked by a message on a socket: the run's directory and the descriptor that holds its lock; answered with the pid and a
pidfd of the supervisor. It ends when the command does, its supervisors don't. The other way to a supervisor, for runs that lost
theirs, is `handover.spawn_supervisor`.
"""

from __future__ import annotations

import os
import socket
import sys
from pathlib import Path

from runtime.errors import ContainerError
from runtime.state_dir import RunDir

SERVE = "serve"
"""In place of a run directory on the command line of `supervisor_main.py`."""

SOCKET_FD = 3


class ForkServer:
    """The command's side. A context manager: leaving it lets the server go, not the supervisors."""

    def __init__(self) -> None:
        self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        null_fd = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
        actions = [(os.POSIX_SPAWN_DUP2, null_fd, fd) for fd in (0, 1, 2)]
        actions.append((os.POSIX_SPAWN_DUP2, theirs.fileno(), SOCKET_FD))
        try:
            argv = supervisor_argv(SERVE)
            self._pid = os.posix_spawn(argv[0], argv, supervisor_environment(), file_actions=actions, setsid=True)
        finally:
            os.close(null_fd)
            theirs.close()

    def supervise(self, run_dir: RunDir, lock_fd: int) -> int:
        """Give *run_dir* a supervisor, which takes over *lock_fd*. Returns its pidfd, readable when it has ended."""
        try:
            socket.send_fds(self._socket, [os.fsencode(run_dir.root)], [lock_fd])
            message, fds, _flags, _address = socket.recv_fds(self._socket, 64, 1)
        except ConnectionError:
            message, fds = b"", []
        finally:
            os.close(lock_fd)
        if not message or not fds:
            raise ContainerError("the supervisor could not be started", hint="its own words, if any, are in the system's log")
        os.set_inheritable(fds[0], False)
        return fds[0]

    def close(self) -> None:
        self._socket.close()
        os.waitpid(self._pid, 0)

    def __enter__(self) -> ForkServer:
        return self

    def __exit__(self, *_failure: object) -> None:
        self.close()


def supervisor_argv(what: str) -> list[str]:
    """The command line of a supervisor process; *what* is a run directory or SERVE."""
    program = Path(__file__).with_name("supervisor_main.py")
    return [sys.executable, "-I", "-S", str(program), _site_directory(), what]


def supervisor_environment() -> dict[str, str]:
    """Ours, for the secrets and settings in it; without the terminal's form where there is no terminal."""
    if sys.stdout.isatty():
        return dict(os.environ)
    return {name: value for name, value in os.environ.items() if name not in ("TERM", "COLUMNS")}


def _site_directory() -> str:
    """Where this environment's packages (pynvml) lie; the supervisor runs without `site`."""
    return next((path for path in sys.path if path.endswith(("site-packages", "dist-packages"))), "")
