"""Messages between a container's creator and its init: one JSON document a packet, with descriptors beside it.

    creator → init     {"maps": true}                      its user namespace has its maps (not for root's)
    init → creator     {"namespaces": true}                + its user and network namespace, when that is to be connected
    init → creator     {"ready": true, "made": […], "warnings": […], "strategy": …, "port": N|null}   + the listener; at the gate
    init → creator     {"error": {…}}                      nothing will come of it
    creator → init     {"start": {NAME: VALUE}}            run the program with these variables too
    creator → init     {"signal": N}                       to the program only
    init → creator     {"terminal": true}                  + the master of the program's terminal, when it has one
    adopter → init     {"adopt": true}                     follow the container from now on
    init → adopter     {"adopted": CONTAINER_ID, "port": N|null, "gpus": …}   + pidfd, stdout, stderr and the listener
    init → follower    {"gpus": "given back" or "wanted"}  nobody used the container (`staying.py`); somebody does again
    follower → init    {"gpus": true}                      + descriptors of their new lease
    caller → init      {"use": true}                       the container is used, also without a program of the caller's
    caller → init      {"run": {argv, env, cwd, user, terminal, rows, columns}}   + stdin, stdout, stderr, unless terminal
    caller → init      {"run": {…, "kept": true}}          no SIGHUP when the caller goes
    caller → init      {"run": {…, "sftp": true}}          no program: serve the files on stdin and stdout
    caller → init      {"run": {…, "connect": PATH or [NUMBER, PORT]}}   no program and no pipes
    task → init        {"task": {rank, env, fd_variables, if_silent}}   + descriptors: start that rank with them (`rank_tasks.py`)
    task → init        {"task": {"spoke": true}}           its rank has spoken to the process manager
    anybody → init     {"task": {"refused": WORDS}}        no tasks will come
    init → task        {"ended": …}                        its rank has
    init → caller      {"connected": true}                 + a socket that is connected to that
    init → caller      {"terminal": true}                  + the master of its terminal
    init → caller      {"ended": {"code": N|null, "signal": N|null}}

The end of the creator's side means that it is gone. SOCK_SEQPACKET keeps packets apart.
"""

from __future__ import annotations

import json
import os
import socket
from array import array
from collections.abc import Callable
from pathlib import Path

from runtime.errors import BadContent, ContainerError, NetworkError, RuntimeFailure, Unsupported
from runtime.light_typing import Any, NoReturn

_LARGEST = 1 << 20
_MOST_DESCRIPTORS = 8
_INT_BYTES = 4

_FAILURES = {kind.__name__: kind for kind in (RuntimeFailure, BadContent, ContainerError, Unsupported, NetworkError)}


def channel() -> tuple[socket.socket, socket.socket]:
    """Both ends of a new channel."""
    return socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_CLOEXEC)


def send(end: socket.socket, document: dict[str, Any], fds: tuple[int, ...] = ()) -> bool:
    """False when the other side is gone."""
    try:
        socket.send_fds(end, [json.dumps(document).encode()], fds)
    except (BrokenPipeError, ConnectionResetError):
        return False
    return True


def receive(end: socket.socket) -> tuple[dict[str, Any], list[int]] | None:
    """The next document and its descriptors (close-on-exec); None when the other side is gone."""
    # Not socket.recv_fds: Python 3.11's drops the flags, and the descriptors would be inheritable.
    room = socket.CMSG_SPACE(_MOST_DESCRIPTORS * _INT_BYTES)
    try:
        data, ancillary, _flags, _address = end.recvmsg(_LARGEST, room, socket.MSG_CMSG_CLOEXEC)
    except ConnectionResetError:
        # The other side ended with a message of ours unread. That is reported once, before what it had sent (unix_release_sock).
        data, ancillary, _flags, _address = end.recvmsg(_LARGEST, room, socket.MSG_CMSG_CLOEXEC)
    if not data:
        return None
    fds = array("i")
    for level, kind, content in ancillary:
        if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
            fds.frombytes(content[: len(content) - len(content) % _INT_BYTES])
    return json.loads(data), fds.tolist()


def describe(error: BaseException) -> dict[str, Any]:
    """*error* as part of a message."""
    if isinstance(error, RuntimeFailure):
        kind = next(kind.__name__ for kind in type(error).__mro__ if kind.__name__ in _FAILURES)
        return {"kind": kind, "message": error.message, "hint": error.hint}
    if isinstance(error, OSError):
        return {"kind": "ContainerError", "message": f"the container can't be set up: {error.strerror or error}", "hint": None}
    return {"kind": "bug", "message": f"{type(error).__name__}: {error}", "hint": None}


def failure(described: dict[str, Any]) -> Exception:
    """The exception that `describe` described."""
    kind = _FAILURES.get(described["kind"])
    if kind is None:
        return RuntimeError(f"in the container's helper: {described['message']}")
    return kind(described["message"], hint=described["hint"])


def report_and_exit(end: socket.socket, error: BaseException) -> NoReturn:
    """Tell the other side of *error*, and end this process."""
    try:
        send(end, {"error": describe(error)})
    finally:
        os._exit(1)


def ask(end: socket.socket, request: str) -> dict[str, Any]:
    """Have the other side do something for this process; its answer. Without one nobody needs this process any more: it ends."""
    send(end, {request: True})
    answer = receive(end)
    if answer is None:
        os._exit(1)
    return answer[0]


def bind_socket(path: Path) -> socket.socket:
    """A listening SOCK_SEQPACKET socket at *path* (0600)."""
    path.unlink(missing_ok=True)
    listener = _socket_at(path, socket.socket.bind)
    try:
        path.chmod(0o600)
        listener.listen(8)
    except BaseException:
        listener.close()
        raise
    return listener


def connect_socket(path: Path) -> socket.socket:
    """A connection to the socket at *path*. Raises ConnectionRefusedError or FileNotFoundError when nobody listens."""
    return _socket_at(path, socket.socket.connect)


def _socket_at(path: Path, attach: Callable[[socket.socket, str], None]) -> socket.socket:
    """A socket that was bound or connected at *path*, however long that is: sun_path takes 107 bytes only, so the directory is
    named by a descriptor."""
    directory = os.open(path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    made = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_CLOEXEC)
    try:
        attach(made, f"/proc/self/fd/{directory}/{path.name}")
    except BaseException:
        made.close()
        raise
    finally:
        os.close(directory)
    return made
