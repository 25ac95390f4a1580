"""The helper's own life: it waits for clients, forks a command for each, and ends when nobody came for some minutes.

It has one thread, as a forker must have, reads nothing that a client sends, and has no environment but its own bare one. What a
client may be served by, the fork decides (`forked_command.py`).
"""

from __future__ import annotations

import os
import select
import signal
import socket
import struct
import sys
from contextlib import suppress
from importlib import import_module
from typing import NamedTuple, NoReturn

from launcher.cli.commands import experiments
from launcher.config.compose import parse_overrides
from launcher.run.start.warm_helpers import HELPER_TITLE
from launcher.run.start.warm_up import warm_up
from launcher.warm.client import DIED
from launcher.warm.forked_command import STALE, run_command
from runtime.kernel.processes import close_fds, rename

_STAYS_S = 300.0
"""Without a command."""

_MOST_PROCESSES = 400
"""Forks and their clients, at a time. More are served the cold way."""

_OF_COMMANDS = (
    "launcher.cli.commands.images",
    "launcher.cli.commands.machine",
    "launcher.cli.commands.running",
    "launcher.cli.commands.runs",
    "launcher.cli.plan",
    "launcher.cli.prepare",
    "launcher.cli.progress_lines",
    "launcher.cli.run_place",
    "launcher.cli.runs.logs",
    "launcher.cli.runs.start",
    "launcher.cli.runs.summary",
    "launcher.cli.runs.table",
    "launcher.cli.timings",
    "launcher.config.assembly",
    "launcher.config.overrides",
    "launcher.config.validate",
    "launcher.plan.bases.base_lock_file",
    "launcher.plan.code.code_snapshot",
    "launcher.plan.explain",
    "launcher.plan.plan_changes",
    "launcher.plan.planner",
    "launcher.run.recover",
    "launcher.run.running_runs",
    "launcher.run.start.create_run",
    "launcher.tracking.record.chosen_runs",
    "launcher.tracking.record.find_runs",
    "runtime.build.copy.apply_copy_files",
    "runtime.build.step_runner",
    "runtime.oci.reference",
    "runtime.store.blobs",
    "runtime.store.publish",
    "locale",
    "shutil",
)
"""What a launch and the commands that look at runs import, Hydra with it: 34 MB."""


class _Running(NamedTuple):
    """A fork that does a command."""

    pid: int
    pidfd: int
    client_pidfd: int
    connection: socket.socket


def run(address: str) -> NoReturn:
    """The whole life of a helper that listens at *address*; in a fork of a fork server, before it serves."""
    os.setsid()
    close_fds()
    rename(HELPER_TITLE)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    with suppress(OSError):  # another one was faster
        listener.bind(b"\0" + address.encode())
        _import_all()
        if len(os.listdir("/proc/self/task")) == 1:  # a thread of a library's: forks would hang in its locks
            listener.listen(16)
            Helper(listener).serve()
    os._exit(0)


def _import_all() -> None:
    # OmegaConf reads classes of attrs where that is installed; here are none, and it takes 0.9 MB.
    sys.modules["attr"] = None  # type: ignore[assignment]
    for name in _OF_COMMANDS:
        import_module(name)
    del sys.modules["attr"]
    warm_up(lambda: False)
    # What parses learns its grammar, compiles its patterns, looks for its messages in the user's language.
    parse_overrides(["a.b=1", "+c={d:e}", "~f", "g=[1,x y]", "h='i'"])
    experiments.run.parse(["experiment=a", "b=1"])


class Helper:
    """Serves the clients that come to *listener*."""

    def __init__(self, listener: socket.socket) -> None:
        self._listener = listener
        self._files = _files_of_modules()
        self._stamps = [_stamp(file) for file in self._files]
        self._commands: dict[int, _Running] = {}
        """By their pidfd, and by that of their client."""
        self._poll = select.poll()
        self._poll.register(listener, select.POLLIN)

    def serve(self) -> None:
        """Until nobody came for a while, or our files have changed."""
        while True:
            ready = self._poll.poll(None if self._commands else _STAYS_S * 1000)
            if not ready:
                return
            for fd, _event in ready:
                if fd == self._listener.fileno():
                    self._accept()
                elif fd in self._commands:
                    self._take_end(self._commands[fd], fd)
            if self._listener.fileno() < 0 and not self._commands:
                return

    def _accept(self) -> None:
        connection, _address = self._listener.accept()
        pid, uid, _gid = struct.unpack("3i", connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
        with connection, suppress(OSError):  # it has ended; or we may have no more processes
            if uid != os.getuid() or len(self._commands) >= _MOST_PROCESSES:
                return
            client_pidfd = os.pidfd_open(pid)
            try:
                child = os.fork()
            except OSError:
                os.close(client_pidfd)
                raise
            if child == 0:  # not by `run_in_child`: a command, which may take hours, needs its garbage collector
                try:
                    run_command(connection, pid, is_stale=self._is_stale)
                finally:
                    os._exit(1)  # whatever fails: a fork that came back would wait for clients as we do
            running = _Running(child, os.pidfd_open(child), client_pidfd, connection.dup())
            for fd in (running.pidfd, running.client_pidfd):
                self._commands[fd] = running
                self._poll.register(fd, select.POLLIN)

    def _take_end(self, running: _Running, ended_fd: int) -> None:
        """One of the two has ended: a client takes its command with it, as if it were the command."""
        self._forget(ended_fd)
        if ended_fd == running.client_pidfd:
            if running.pidfd in self._commands:
                signal.pidfd_send_signal(running.pidfd, signal.SIGKILL)
            return
        code = os.waitstatus_to_exitcode(os.waitpid(running.pid, 0)[1])
        with running.connection, suppress(OSError):  # nobody listens any more
            if code < 0:
                running.connection.send(b"%s%d" % (DIED, -code))
        if running.client_pidfd in self._commands:
            self._forget(running.client_pidfd)
        if code == STALE:
            self._poll.unregister(self._listener)
            self._listener.close()

    def _forget(self, fd: int) -> None:
        del self._commands[fd]
        self._poll.unregister(fd)
        os.close(fd)

    def _is_stale(self) -> bool:
        try:
            return [_stamp(file) for file in self._files] != self._stamps
        except FileNotFoundError:
            return True  # an upgrade has taken a module away


def _files_of_modules() -> list[str]:
    """The files that our own modules came from. A fork that looked at the modules themselves would copy each one's page."""
    own = (module.__file__ for name, module in sys.modules.items() if name.startswith(("launcher", "runtime")))
    return [file for file in own if file]


def _stamp(file: str) -> tuple[int, int]:
    """Its time and size."""
    status = os.stat(file)
    return status.st_mtime_ns, status.st_size
