"""Programs that others start in a container beside its own (`launch exec`): init's part.

Init forks them, so that they are in the container by construction: every namespace, the cgroup, the root, the limits, the seccomp
filter, no_new_privs and the environment are those of the program, and nothing is entered from outside. What the caller gives is a
request and three pipe ends, or nothing when it wants a terminal, which is then made inside (`pty.py`). In the place of a program
the fork can serve the container's files (`sftp_server.py`), or make a connection, whose socket the caller gets. The caller's part
is `exec_inside.py`.
"""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from runtime.container.handshake import describe, receive, send
from runtime.container.program import Program, exec_program, take_its_place
from runtime.container.pty import open_pty
from runtime.container.spec import ProcessExit
from runtime.errors import ContainerError
from runtime.kernel import processes
from runtime.kernel.id_maps import RANGE_SIZE
from runtime.light_dataclasses import dataclass, field, replace
from runtime.rootfs.accounts import Accounts, UnknownName, User, read_below_root

_STREAMS = 3


@dataclass(slots=True)
class SidePrograms:
    """Those of one container. A connection is a caller; its end is a hang-up."""

    callers: dict[int, socket.socket] = field(default_factory=dict)
    """Everybody who connected and is not the one that follows the run."""
    pids: dict[int, int] = field(default_factory=dict)
    """pid → connection"""
    kept: set[int] = field(default_factory=set)
    """Those of `pids` that outlive their caller, as without a terminal a program of an SSH server does."""

    def welcome(self, listener: socket.socket) -> None:
        """Somebody connects."""
        with suppress(OSError):  # gone already, or no descriptor is left
            connection, _address = listener.accept()
            self.callers[connection.fileno()] = connection

    def start(self, fd: int, request: dict[str, Any], fds: list[int], program: Program, env: Mapping[str, str]) -> None:
        """Fork what the caller *fd* asked for."""
        connection = self.callers[fd]
        if fd in self.pids.values() or len(fds) != (0 if request["terminal"] or "connect" in request else _STREAMS):
            _close(fds)
            self.hang_up(fd)
            return
        try:
            # Init's handlers write into a pipe that is init's, too: a signal to the child would be taken for one to init.
            pid = processes.fork_deaf()
        except OSError as error:  # at the container's limit of processes or memory
            _close(fds)
            send(connection, {"error": describe(error)})
            return
        if pid == 0:
            code = 125
            try:
                code = _run_side_program(connection, request, fds, program, dict(env))
            except BaseException as error:
                send(connection, {"error": describe(error)})
            finally:
                os._exit(code)
        _close(fds)
        self.pids[pid] = fd
        if request.get("kept"):
            self.kept.add(pid)

    def hang_up(self, fd: int) -> None:
        """The caller is gone: what it started is told so, as by a terminal that is closed."""
        self.callers.pop(fd).close()
        for pid, caller in self.pids.items():
            if caller == fd:
                if pid not in self.kept:
                    _signal_group(pid, signal.SIGHUP)
                self.pids[pid] = -1

    def pass_on(self, fd: int, number: int) -> None:
        for pid, caller in self.pids.items():
            if caller == fd:
                _signal_group(pid, number)

    def signal_all(self, number: int) -> None:
        for pid in self.pids:
            _signal_group(pid, number)

    def ended(self, pid: int, how: ProcessExit, *, leaving: int | None) -> None:
        """The child *pid* was reaped. *leaving*: what ends the container meanwhile (`Stay.ended_by`)."""
        self.kept.discard(pid)
        caller = self.callers.get(self.pids.pop(pid, -1))
        if caller is not None:
            send(caller, {"ended": {"code": how.code, "signal": how.signal, "leaving": leaving}})


def _close(fds: list[int]) -> None:
    for fd in fds:
        os.close(fd)


def _signal_group(pid: int, number: int) -> None:
    """To the session that *pid* leads; our own child, not reaped yet: it can't be another's number."""
    try:
        os.killpg(pid, number)
    except ProcessLookupError:  # it does not lead one yet
        with suppress(ProcessLookupError):
            os.kill(pid, number)


def _run_side_program(
    connection: socket.socket, request: dict[str, Any], fds: list[int], program: Program, env: dict[str, str]
) -> int:
    """In the child, from the fork to exec. Returns the exit code when there was nothing to exec."""
    processes.close_fds(keep=(connection.fileno(), *fds))
    wanted, env = _as_asked(request, program, env)
    if "connect" in request:
        return _offer_connection(connection, request["connect"], replace(wanted, cwd="/"))
    terminal: int | None = None
    if request["terminal"]:
        env = {name: value for name, value in env.items() if name not in ("COLUMNS", "LINES")}
        terminal = _offer_terminal(connection, int(request["rows"]), int(request["columns"]))
    else:
        # The descriptors came in above 2, so that none is overwritten before it is moved.
        for number, fd in enumerate(fds):
            os.dup2(fd, number)
    # The connection is closed by exec: until then it says what goes wrong.
    processes.close_fds(keep=(connection.fileno(), *(() if terminal is None else (terminal,))))
    if request.get("sftp"):
        return _serve_files(connection, wanted)
    return exec_program(wanted, env, terminal=terminal)


def _serve_files(connection: socket.socket, wanted: Program) -> int:
    """In the place of the program *wanted*."""
    from runtime.container.sftp_server import serve_sftp  # loaded by `init_setup.py`: nothing can be found from here

    failed = take_its_place(wanted)
    connection.close()
    return failed if failed is not None else serve_sftp(0, 1)


def _offer_connection(connection: socket.socket, address: str | list[Any], wanted: Program) -> int:
    """A socket connected to *address*, a path, or a number and a port, with the rights of *wanted*, for whoever is at the other
    end of *connection*."""
    if (failed := take_its_place(wanted)) is not None:
        return failed
    family = socket.AF_UNIX if isinstance(address, str) else socket.AF_INET6 if ":" in address[0] else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as made:
        try:
            made.connect(address if isinstance(address, str) else (address[0].encode(), address[1]))
        except OSError as error:
            raise ContainerError(f"no connection to {_named(address)}: {os.strerror(error.errno or 0).lower()}") from error
        send(connection, {"connected": True}, (made.fileno(),))
    return 0


def _named(address: str | list[Any]) -> str:
    return f"`{address}`" if isinstance(address, str) else f"port {address[1]} of {address[0]}"


def _offer_terminal(connection: socket.socket, rows: int, columns: int) -> int:
    """The slave of a new terminal, whose master whoever is at the other end of *connection* gets."""
    root = os.open("/", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    master, slave = open_pty(root, rows, columns)
    os.close(root)
    send(connection, {"terminal": True}, (master,))
    os.close(master)
    return slave


def _as_asked(request: dict[str, Any], program: Program, env: dict[str, str]) -> tuple[Program, dict[str, str]]:
    """*program* and its environment with what the request changes."""
    wanted = replace(program, argv=tuple(request["argv"]), cwd=request["cwd"] or program.cwd)
    if request["user"]:
        user = _find_user(request["user"])
        if program.one_id and (user.uid, user.gid) != (program.uid, program.gid):
            raise ContainerError(
                f"there is no user `{request['user']}` to become: this container has one id only",
                hint="subordinate ids give it more: `launch doctor` says how to get them",
            )
        if not program.one_id and max(user.uid, user.gid) >= RANGE_SIZE:
            raise ContainerError(f"the container has no user `{request['user']}`: only ids below {RANGE_SIZE} are mapped")
        wanted = replace(wanted, uid=user.uid, gid=user.gid, groups=user.groups)
        env = {**env, "HOME": user.home}
    return wanted, env | request["env"]


def _find_user(user: str) -> User:
    try:
        return Accounts(read_below_root).user(user)
    except UnknownName as error:
        raise ContainerError(f"the container has no {error}") from None


def next_request(connection: socket.socket) -> tuple[dict[str, Any], list[int]] | None:
    """What somebody outside says; None when it is gone or does not speak this language: that must end nobody's training."""
    try:
        message = receive(connection)
    except (ValueError, RecursionError, OSError):
        return None
    if message is None:
        return None
    document, fds = message
    request = document.get("run") if isinstance(document, dict) else None
    if isinstance(request, dict) and isinstance(request.get("terminal"), bool):
        return message
    if isinstance(document, dict) and isinstance(document.get("task"), dict):
        return message
    _close(fds)
    if not isinstance(document, dict) or "run" in document:
        return None
    number = document.get("signal", signal.SIGTERM)
    return (document, []) if isinstance(number, int) and 0 < number < signal.NSIG else None
