"""Supervisors that are ready before they are needed: one process that has imported everything, and forks.

The command starts it first thing, so that it warms up while the command composes, plans and builds; a sweep's trials cost a fork
each. Asked by a message on a socket: the run's directory and the descriptor that holds its lock; answered with the pid and a
pidfd of the supervisor. It ends when the command does, its supervisors don't. The other way to a supervisor, for runs that lost
theirs and for a command that lost its server, is `supervisor_start.py`.
"""

from __future__ import annotations

import os
import socket
from pathlib import Path

from launcher.run.start.helper_address import helper_address, inherited_state, may_be_warm
from launcher.run.start.supervisor_start import spawn, spawn_supervisor, supervisor_argv
from runtime.file_lock import LockBusy, open_locked
from runtime.state_dir import RunDir

SOCKET_FD = 3

_PROGRAM = Path(__file__).parents[2] / "warm" / "server_main.py"


def _helper_address() -> str:
    """Where a helper is to be left; empty where there shall be none, or /proc doesn't say what we are."""
    try:
        return helper_address(inherited_state("self")) if may_be_warm() else ""
    except OSError:
        return ""


def _spawn_server(control: socket.socket) -> int:
    """As a program of its own, which leaves a warm helper behind where there is none that fits. Returns its pid."""
    argv = supervisor_argv(_helper_address(), program=_PROGRAM)
    null_fd = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
    try:
        return spawn(argv, [*((null_fd, fd) for fd in (0, 1, 2)), (control.fileno(), SOCKET_FD)])
    finally:
        os.close(null_fd)


class ForkServer:
    """The command's side. A context manager: leaving it lets the server go, not the supervisors."""

    begin = staticmethod(_spawn_server)
    """How a server comes about. A command that was forked from the warm helper has everything imported, and forks."""

    def __init__(self) -> None:
        self._is_ours = True
        self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self._pid = self.begin(theirs)

    def supervise(self, run_dir: RunDir, lock_fd: int) -> int:
        """Give *run_dir* a supervisor, which takes over *lock_fd*. Returns its pidfd, readable when it has ended."""
        fds: list[int] = []
        try:
            socket.send_fds(self._socket, [os.fsencode(run_dir.root)], [lock_fd])
            _message, fds, _flags, _address = socket.recv_fds(self._socket, 64, 1)
        except ConnectionError:
            fds = []
        finally:
            os.close(lock_fd)
        if not fds:
            return _supervise_without_server(run_dir)
        os.set_inheritable(fds[0], False)
        return fds[0]

    def give_away(self) -> None:
        """It belongs to a process that we have forked, from now on."""
        self._socket.close()
        self._is_ours = False

    def close(self) -> None:
        if self._is_ours:
            self._socket.close()
            os.waitpid(self._pid, 0)

    def __enter__(self) -> ForkServer:
        return self

    def __exit__(self, *_failure: object) -> None:
        self.close()


def _supervise_without_server(run_dir: RunDir) -> int:
    """The server was killed, before it forked or after: the lock tells."""
    from launcher.run.start.supervisor_link import open_supervisor  # brings json: the server shall start before

    try:
        lock_fd = open_locked(run_dir.supervisor_lock, wait=False)
    except LockBusy:
        pidfd = open_supervisor(run_dir)
        if pidfd is not None:
            return pidfd
        lock_fd = open_locked(run_dir.supervisor_lock)
    return os.pidfd_open(spawn_supervisor(run_dir, lock_fd))
