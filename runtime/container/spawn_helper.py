"""A small process that forks the inits of a large one's containers (`spawn.py` says why).

It is a new Python that knows nothing but how a container is made, started when it is first needed (30 ms). It ends with its
creator, or when it was not asked for a while. What it forks is the creator's child (CLONE_PARENT). A request has the descriptors
that init gets, at the numbers that they have in the creator, and its `InitParams` as a pickle: nobody else has that socket.

A fork takes over limits, ids, namespaces, scheduling from its maker: when the creator's are others than those with which it
started its helper, it starts another.
"""

from __future__ import annotations

import fcntl
import io
import os
import pickle
import resource
import select
import signal
import socket
import sys
import threading
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NoReturn

from runtime.cgroup.cgroup import Cgroup
from runtime.cgroup.entry import fork_into_cgroup, open_entry
from runtime.container.handshake import report_and_exit
from runtime.container.init_setup import InitParams, run_init
from runtime.errors import ContainerError
from runtime.kernel import processes
from runtime.kernel.processes import PARENT
from runtime.light_dataclasses import dataclass

_SOCKET = 3
_MOST_DESCRIPTORS = 253  # SCM_MAX_FD
_LENGTH = 8
_IDLE_S = 60.0
_LIMITS = tuple(value for name, value in vars(resource).items() if name.startswith("RLIMIT_"))
_NAMESPACES = ("mnt", "user", "pid_for_children", "net", "cgroup")


@dataclass(frozen=True, slots=True)
class _Request:
    """What stands before the InitParams."""

    numbers: tuple[int, ...]
    """Of the descriptors, in the order in which they are sent."""
    kinds: int
    cgroup: int | None
    """Number of the v2 cgroup's descriptor."""
    files: tuple[Path, ...]
    control: int
    """Number of init's end of the channel."""
    params: bytes


class _Pickler(pickle.Pickler):
    """A socket is its number."""

    def persistent_id(self, obj: object) -> int | None:
        return obj.fileno() if isinstance(obj, socket.socket) else None


class _Unpickler(pickle.Unpickler):
    def persistent_load(self, pid: Any) -> socket.socket:
        return socket.socket(fileno=pid)


@dataclass(slots=True)
class _SpawnHelper:
    """The creator's side."""

    pid: int
    connection: socket.socket
    maker: tuple[object, ...]
    """What its creator was when it began."""

    def spawn(self, request: _Request) -> int:
        content = pickle.dumps(request)
        socket.send_fds(self.connection, [len(content).to_bytes(_LENGTH, "big")], request.numbers)
        self.connection.sendall(content)
        answer = pickle.loads(_exactly(self.connection, int.from_bytes(_exactly(self.connection, _LENGTH), "big")))
        if isinstance(answer, OSError):
            raise answer
        return int(answer)

    def end(self) -> None:
        self.connection.close()
        if self.maker[0] == os.getpid():
            with suppress(ChildProcessError):
                os.waitpid(self.pid, 0)


_lock = threading.Lock()
_current: _SpawnHelper | None = None


def spawn_by_helper(params: InitParams, kinds: int, cgroup: Cgroup | None) -> int:
    """The number of a new init, our child, in namespaces of *kinds* and *cgroup*. Raises OSError as clone(2) does."""
    with open_entry(cgroup) as (directory, files), _lock:
        pickled = io.BytesIO()
        _Pickler(pickled).dump(params)
        numbers = dict.fromkeys((params.stdin, params.stdout_write, params.stderr_write, *params.descriptors()))
        if directory is not None:
            numbers[directory] = None
        request = _Request(tuple(numbers), kinds, directory, files, params.inherited.control.fileno(), pickled.getvalue())
        try:
            return _ready().spawn(request)
        except ConnectionError:
            # It ended, idle, before it had read the request.
            _dismiss()
            return _ready().spawn(request)
        except EOFError as error:
            _dismiss()
            raise ContainerError("the process that starts containers was killed", hint="the next try starts another") from error


def _ready() -> _SpawnHelper:
    global _current
    us = _attributes()
    if _current is not None and _current.maker != us:
        _dismiss()
    if _current is None:
        _current = _start(us)
    return _current


def _dismiss() -> None:
    global _current
    if _current is not None:
        _current.end()
    _current = None


def _attributes() -> tuple[object, ...]:
    return (
        os.getpid(),
        os.getresuid(),
        os.getresgid(),
        tuple(os.getgroups()),
        tuple(os.stat(f"/proc/self/ns/{kind}").st_ino for kind in _NAMESPACES),
        tuple(resource.getrlimit(which) for which in _LIMITS),
        tuple(sorted(os.sched_getaffinity(0))),
        os.getpriority(os.PRIO_PROCESS, 0),
        Path("/proc/self/oom_score_adj").read_bytes(),
    )


def _start(us: tuple[object, ...]) -> _SpawnHelper:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    nothing = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
    actions = [(os.POSIX_SPAWN_DUP2, nothing, number) for number in (0, 1, 2)]
    actions.append((os.POSIX_SPAWN_DUP2, theirs.fileno(), _SOCKET))
    packages = str(Path(__file__).parents[2])
    code = f"import sys; sys.path.insert(0, {packages!r}); from runtime.container.spawn_helper import serve; serve()"
    try:
        argv = [sys.executable, "-I", "-S", "-c", code]
        # Nothing of our environment: whoever looks at an init sees it.
        pid = os.posix_spawn(argv[0], argv, {}, file_actions=actions, setsid=True, setsigmask=(), setsigdef=(signal.SIGCHLD,))
    finally:
        os.close(nothing)
        theirs.close()
    return _SpawnHelper(pid, ours, us)


def _exactly(connection: socket.socket, length: int) -> bytes:
    content = b""
    while len(content) < length:
        part = connection.recv(length - len(content))
        if not part:
            raise EOFError
        content += part
    return content


def serve() -> NoReturn:
    """The life of the helper."""
    processes.rename("launch-spawn")
    # Stays dumpable, or its forks would not be an ordinary user's to write maps for. It has no environment and keeps no request.
    connection = socket.socket(fileno=_SOCKET)
    while select.select([connection], [], [], _IDLE_S)[0]:
        length, fds, _flags, _address = socket.recv_fds(connection, _LENGTH, _MOST_DESCRIPTORS)
        if not length:
            os._exit(0)
        length += _exactly(connection, _LENGTH - len(length))
        request: _Request = pickle.loads(_exactly(connection, int.from_bytes(length, "big")))
        answer = pickle.dumps(_fork_init(request, fds))
        for fd in fds:
            os.close(fd)
        connection.sendall(len(answer).to_bytes(_LENGTH, "big") + answer)
    os._exit(0)


def _fork_init(request: _Request, fds: Sequence[int]) -> int | OSError:
    cgroup = None if request.cgroup is None else fds[request.numbers.index(request.cgroup)]
    try:
        pid, cgroups = fork_into_cgroup(cgroup, request.files, request.kinds | PARENT)
    except OSError as error:
        return OSError(error.errno, error.strerror)
    if pid == 0:
        run_init(_unpack(request, fds), cgroups)
    return pid


def _unpack(request: _Request, fds: Sequence[int]) -> InitParams:
    control = fds[request.numbers.index(request.control)]
    try:
        _place(zip(fds, request.numbers, strict=True))
        control = request.control
        params: InitParams = _Unpickler(io.BytesIO(request.params)).load()
    except BaseException as error:  # no number is left, or another version of this package was installed since the creator began
        report_and_exit(socket.socket(fileno=control), error)
    return params


def _place(descriptors: Iterable[tuple[int, int]]) -> None:
    """Give descriptors the numbers that init knows them by."""
    pairs = list(descriptors)
    free = max(map(max, pairs)) + 1
    moved = [(fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, free), number) for fd, number in pairs]
    for fd, number in moved:
        os.dup2(fd, number, inheritable=False)
        os.close(fd)
