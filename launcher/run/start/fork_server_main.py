"""The fork server's side: wait for runs, fork a supervisor for each (see `fork_server.py`). One thread, as a forker must have."""

from __future__ import annotations

import os
import select
import signal
import socket
from pathlib import Path
from typing import NoReturn

from launcher.plan.machine_share import this_machine
from launcher.run.start.fork_server import SOCKET_FD
from launcher.run.start.warm_up import warm_up
from launcher.run.supervisor import supervisor
from launcher.run.supervisor.tracker_process import SharedTracker, fork_shared_tracker
from runtime.kernel.processes import close_fds
from runtime.state_dir import RunDir

_IT_IS_A_SWEEP = 2
"""Runs of one command from which on they share a tracker."""


def serve() -> NoReturn:
    """As a program of our own: be warm, and serve until the command closes its end."""
    control = socket.socket(fileno=SOCKET_FD)
    control.set_inheritable(False)
    warm_up(lambda: bool(select.select([control], [], [], 0)[0]))
    _serve(control)


def fork_server(control: socket.socket) -> int:
    """Fork a server from a process that is warm already. Returns its pid."""
    pid = os.fork()
    if pid == 0:
        os.setsid()
        null_fd = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
        for fd in (0, 1, 2):
            os.dup2(null_fd, fd)
        close_fds(keep=[control.fileno()])
        this_machine()  # once for all that come of this server
        _serve(control)
    return pid


def _serve(control: socket.socket) -> NoReturn:
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # supervisors are reaped by the kernel
    shared, begun = None, 0
    while True:
        message, fds, _flags, _address = socket.recv_fds(control, 4096, 1)
        if not message:
            os._exit(0)
        (lock_fd,) = fds
        begun += 1
        if begun == _IT_IS_A_SWEEP:
            shared = fork_shared_tracker()
        pid = os.fork()
        if pid == 0:
            control.close()
            run_dir = RunDir(Path(os.fsdecode(message)))
            _leave_server(run_dir, lock_fd, shared)
            supervisor.main(run_dir, shared_tracker=shared)
        os.close(lock_fd)
        pidfd = os.pidfd_open(pid)
        socket.send_fds(control, [b"%d" % pid], [pidfd])
        os.close(pidfd)


def _leave_server(run_dir: RunDir, lock_fd: int, shared: SharedTracker | None) -> None:
    """In the fork: a session, a log and the run's lock of its own, and nothing else of the server's but *shared*."""
    os.setsid()
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    log_fd = os.open(run_dir.supervisor_log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    for fd in (1, 2):
        os.dup2(log_fd, fd)
    os.dup2(lock_fd, supervisor.LOCK_FD)
    close_fds(keep=[] if shared is None else [shared.control.fileno()], first=supervisor.LOCK_FD + 1)
