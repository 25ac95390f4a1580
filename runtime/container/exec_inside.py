"""Run a program in a running container, from outside: the caller's part of `launch exec`. Init's part is `side_programs.py`.

Nothing of the caller goes in but words and the ends of new pipes: no file, no directory and no terminal of the host can be
reached through a descriptor of the program (CVE-2024-21626), and no program of the host is executed inside (CVE-2019-5736).
"""

from __future__ import annotations

import os
import select
import signal
import socket
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

from runtime.container.handshake import connect_socket, failure, receive, send
from runtime.container.spec import ProcessExit
from runtime.errors import ContainerError
from runtime.light_dataclasses import dataclass, field
from runtime.light_typing import Any

_ANSWER_WITHIN_S = 10.0
_LARGEST_REQUEST = 1 << 17
"""What a packet may hold for certain (net.core.wmem_default is 208 KiB)."""


@dataclass(frozen=True, slots=True)
class ExecRequest:
    """What to run, and how it differs from the container's own program."""

    argv: tuple[str, ...]
    env: Mapping[str, str] = field(default_factory=dict)
    """On top of the program's."""
    cwd: str | None = None
    user: str | None = None
    terminal: tuple[int, int] | None = None
    """Rows and columns; None = three pipes."""
    is_kept: bool = False
    """Whether it gets no hang-up when its caller goes."""
    serves_files: bool = False
    """SFTP on stdin and stdout in the place of *argv*; in a container to work in only."""


@dataclass(slots=True)
class SideProgram:
    """A program that was started; a context manager whose end is a hang-up (SIGHUP) for one that still runs."""

    connection: socket.socket
    stdin: int
    """Write end of its stdin; the master of its terminal when it has one."""
    stdout: int
    """Read end; the same master when it has a terminal."""
    stderr: int | None
    leaving: int | None = None
    """Once it has ended: the signal by which its container was told to end, 0 where nobody used that; None: it goes on."""

    @property
    def ending(self) -> int:
        """Readable when `ended` has an answer."""
        return self.connection.fileno()

    def ended(self) -> ProcessExit | None:
        """How it ended, once `ending` is readable. None: the container ended, and the program with it."""
        message = receive(self.connection)
        if message is None:
            self.leaving = signal.SIGKILL
            return None
        if "error" in message[0]:
            raise failure(message[0]["error"])
        if "ended" not in message[0]:
            _close(message[1])
            raise ContainerError("the container's init does not know how to start programs: it is of an older launch")
        self.leaving = message[0]["ended"].get("leaving")  # init of an older launch does not tell
        return ProcessExit(message[0]["ended"]["code"], message[0]["ended"]["signal"])

    def signal(self, number: int) -> None:
        """To the program and what it started in its session."""
        send(self.connection, {"signal": int(number)})

    def close_stdin(self) -> None:
        if self.stdin >= 0 and self.stdin != self.stdout:
            os.close(self.stdin)
            self.stdin = -1

    def __enter__(self) -> SideProgram:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.connection.close()
        self.close_stdin()
        os.close(self.stdout)
        if self.stderr is not None:
            os.close(self.stderr)


def exec_inside(init_socket: Path, request: ExecRequest) -> SideProgram:
    """Start *request* in the container whose init listens at *init_socket*.

    Raises ContainerError: it has ended, does not answer, has no terminal or no such user.
    """
    with ExitStack() as on_failure:
        connection = _connect(init_socket)
        on_failure.callback(connection.close)
        ours, theirs = ((-1, -1, -1), ()) if request.terminal else _pipes(on_failure)
        try:
            _ask(connection, request, theirs)
        finally:
            _close(theirs)
        if request.terminal:
            master = _terminal(connection)
            ours = (master, master, -1)
        on_failure.pop_all()
    stdin, stdout, stderr = ours
    return SideProgram(connection, stdin, stdout, None if stderr < 0 else stderr)


def connect_inside(init_socket: Path, address: str | tuple[str, int]) -> socket.socket:
    """A socket connected from inside the container, with the rights of its program: to a socket file there, or to a number (IPv4,
    IPv6) and a port. Raises ContainerError where nobody listens, or the container has ended."""
    with _connect(init_socket) as connection:
        _ask(connection, ExecRequest(()), (), connect=address)
        message = _answer(connection)
        if "connected" not in message[0] or not message[1]:
            _close(message[1])
            raise ContainerError("the container's init makes no connections: it is of an older launch")
    return socket.socket(fileno=message[1][0])


def program_terminal(init_socket: Path) -> int:
    """The master of the terminal of the container's own program, to type there: somebody else reads what it says.

    Raises ContainerError: the container has ended, does not answer, or its program has none.
    """
    with _connect(init_socket) as connection:
        send(connection, {"terminal": True})
        return _terminal(connection)


def note_use(init_socket: Path) -> None:
    """Tell the container whose init listens at *init_socket* that it is used: it asks for GPUs that it has given back."""
    with _connect(init_socket) as connection:
        send(connection, {"use": True})


def _connect(init_socket: Path) -> socket.socket:
    try:
        return connect_socket(init_socket)
    except (FileNotFoundError, ConnectionRefusedError) as error:
        raise ContainerError("the container has ended") from error
    except PermissionError as error:
        raise ContainerError(
            f"the container is another user's: `{init_socket}` can't be reached", hint="only its owner and root may enter it"
        ) from error


def is_there(init_socket: Path) -> bool:
    """Whether a container's init listens at *init_socket*."""
    try:
        connect_socket(init_socket).close()
    except OSError:
        return False
    return True


def _ask(
    connection: socket.socket, request: ExecRequest, fds: tuple[int, ...], *, connect: str | tuple[str, int] | None = None
) -> None:
    rows, columns = request.terminal or (0, 0)
    document: dict[str, Any] = {
        "argv": list(request.argv),
        "env": dict(request.env),
        "cwd": request.cwd,
        "user": request.user,
        "terminal": request.terminal is not None,
        "rows": rows,
        "columns": columns,
        "kept": request.is_kept,
        "sftp": request.serves_files,
    }
    if connect is not None:
        document["connect"] = connect
    if sum(map(len, (*request.argv, *request.env, *request.env.values()))) > _LARGEST_REQUEST:
        raise ContainerError(
            f"the command and its variables are longer than {_LARGEST_REQUEST >> 10} KiB",
            hint="give what is long through stdin (`-i`)",
        )
    if not send(connection, {"run": document}, fds):
        raise ContainerError("the container ended while it was asked")


def _terminal(connection: socket.socket) -> int:
    document, fds = _answer(connection)
    if "terminal" not in document or not fds or not os.isatty(fds[0]):
        _close(fds)
        raise ContainerError("the container's init gave no terminal")
    return fds[0]


def _answer(connection: socket.socket) -> tuple[dict[str, Any], list[int]]:
    """Init's, to something that it does at once."""
    if not select.select([connection], [], [], _ANSWER_WITHIN_S)[0]:
        raise ContainerError("the container's init does not answer", hint="it is stopped, or the machine is overloaded")
    message = receive(connection)
    if message is None:
        raise ContainerError("the container ended while it was asked")
    if "error" in message[0]:
        raise failure(message[0]["error"])
    return message


def _pipes(on_failure: ExitStack) -> tuple[tuple[int, int, int], tuple[int, ...]]:
    """Our ends of stdin, stdout and stderr, and theirs."""
    (stdin_read, stdin), (stdout, stdout_write), (stderr, stderr_write) = (os.pipe2(os.O_CLOEXEC) for _ in range(3))
    for fd in (stdin, stdout, stderr):
        on_failure.callback(os.close, fd)
    return (stdin, stdout, stderr), (stdin_read, stdout_write, stderr_write)


def _close(fds: Sequence[int]) -> None:
    for fd in fds:
        os.close(fd)
