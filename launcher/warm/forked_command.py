"""In a fork of the helper: become the command that a client asked for, and do it (`client.py` has the messages).

The client's environment arrives here, never in the helper, which stays.
"""

from __future__ import annotations

import fcntl
import marshal
import os
import site
import socket
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any, NoReturn

from launcher.cli import main
from launcher.cli.timings import Timings
from launcher.plan.machine_share import this_machine
from launcher.run.start.fork_server import ForkServer
from launcher.run.start.fork_server_main import fork_server
from launcher.run.start.helper_address import inherited_state, start_variables
from launcher.warm.client import DONE, GO, LENGTH_BYTES, READY
from runtime.kernel.processes import close_fds, rename

STALE = 3
"""Exit code of a fork that found other files where the helper's modules came from."""


def run_command(connection: socket.socket, client: int, *, is_stale: Callable[[], bool]) -> NoReturn:
    """Receive the request of the process *client*, compare, do the command, send its exit code. Without a word when it doesn't
    fit: then the client does it."""
    close_fds(keep=[connection.fileno()])
    rename("launch")  # a client may be long in saying its words, and `launch ps --helpers` lists the helper's title
    request, fds = _receive(connection)
    connection, directory_fd = _take_fds(connection, fds, request["fds"])
    environ = dict(request["environ"])
    if not _fits(client, environ, request["argv"][1:]):
        os._exit(0)
    if is_stale():
        os._exit(STALE)
    os.setpgid(0, 0)
    os.fchdir(directory_fd)
    os.close(directory_fd)
    _become(request, environ)
    own_pidfd = os.pidfd_open(os.getpid())
    socket.send_fds(connection, [b"%s%d" % (READY, os.getpid())], [own_pidfd])
    os.close(own_pidfd)
    if connection.recv(1) != GO:
        os._exit(0)
    os.register_at_fork(after_in_child=connection.close)
    ForkServer.begin = staticmethod(fork_server)
    Timings.typed = client
    code = _run(sys.argv[1:])
    with suppress(OSError):  # the client was killed
        connection.send(b"%s%d" % (DONE, code))
    os._exit(0)


def _receive(connection: socket.socket) -> tuple[dict[str, Any], list[int]]:
    first, fds, _flags, _address = socket.recv_fds(connection, 1 << 16, 253)
    if len(first) < LENGTH_BYTES:
        os._exit(0)
    length = int.from_bytes(first[:LENGTH_BYTES], sys.byteorder)
    received = bytearray(first[LENGTH_BYTES:])
    while len(received) < length:
        more = connection.recv(length - len(received))
        if not more:
            os._exit(0)
        received += more
    return marshal.loads(received), fds


def _take_fds(connection: socket.socket, fds: list[int], numbers: list[int]) -> tuple[socket.socket, int]:
    """Give *fds*, but the first, the *numbers* that they have at the client. Returns the connection and the first, above them."""
    above = max(numbers, default=2) + 1
    connection_fd, directory_fd, *passed_fds = (
        fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, above) for fd in (connection.detach(), *fds)
    )
    close_fds(keep=[connection_fd, directory_fd, *passed_fds], first=0)
    for fd, number in zip(passed_fds, numbers, strict=True):
        os.dup2(fd, number)
        os.close(fd)
    return socket.socket(fileno=connection_fd), directory_fd


def _fits(client: int, environ: dict[str, str], words: list[str]) -> bool:
    """Whether the client is what we are, and its command is one that needs no terminal of its own."""
    if start_variables(environ) != start_variables(dict(os.environ)):
        return False
    try:
        if inherited_state(client) != inherited_state("self"):
            return False
    except OSError:
        return False
    return not main.needs_terminal(words)


def _become(request: dict[str, Any], environ: dict[str, str]) -> None:
    os.environ.clear()
    os.environ.update(environ)
    time.tzset()
    sys.argv = request["argv"]
    rename(" ".join(["launch", *sys.argv[1:]]))
    sys.path[:] = request["path"]
    sys.prefix, sys.exec_prefix = request["prefixes"]
    this_machine.cache_clear()  # the helper may have looked minutes ago
    sys.dont_write_bytecode = bool(environ.get("PYTHONDONTWRITEBYTECODE"))
    if request["has_finders"]:  # what was installed editable is found by what .pth files import
        for directory in [path for path in sys.path if path.endswith(("site-packages", "dist-packages"))]:
            site.addsitedir(directory)
    sys.stdout.reconfigure(line_buffering=os.isatty(1), write_through=bool(environ.get("PYTHONUNBUFFERED")))  # type: ignore[union-attr]


def _run(words: list[str]) -> int:
    try:
        return main.run(words)
    except SystemExit as leaving:
        return leaving.code if isinstance(leaving.code, int) else int(leaving.code is not None)
    except BaseException:
        sys.excepthook(*sys.exc_info())
        return 1
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
