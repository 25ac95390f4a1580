"""Who keeps a container's attendant: starts it, holds what it needs, and starts it anew should it be killed.

The attendant reads what a container sends; it may meet a bug or the kernel's want of memory. The keeper reads nothing and waits,
with the listeners open, so that who connects meanwhile waits in their queue and isn't refused. It ends with the container's init
and not with its maker: a run goes on without its supervisor, and so does its network. Without the keeper the attendant goes on.
"""

from __future__ import annotations

import json
import os
import select
import time
from typing import NoReturn

from runtime.errors import NetworkError, Unsupported
from runtime.kernel import processes
from runtime.network.network_proxy import TITLE, Duties, serve

_SERVED = b"{}"
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.05, 5.0
_STEADY_AFTER_S = 10.0
"""An attendant that lived so long did not end because of how it began."""


def start(duties: Duties) -> int:
    """Start an attendant and its keeper, a child of this process; the keeper's number, when everything is served. Raises what the
    attendant failed with."""
    reader, writer = os.pipe2(os.O_CLOEXEC)
    pid = processes.fork()
    if pid == 0:
        _be_keeper(duties, writer)
    os.close(writer)
    with os.fdopen(reader, "rb") as pipe:
        answer = pipe.read()
    if answer == _SERVED:
        return pid
    os.waitpid(pid, 0)
    if not answer:
        raise NetworkError("the process that serves the container's network was killed")
    failure = json.loads(answer)
    kind = Unsupported if failure["kind"] == "Unsupported" else NetworkError
    raise kind(failure["message"], hint=failure["hint"])


def _be_keeper(duties: Duties, writer: int) -> NoReturn:
    try:
        _close_the_rest(duties, writer)
        processes.rename(TITLE)
        attendant, answer = _attendant(duties, not_kept=(writer,))
        os.write(writer, answer)
        os.close(writer)
        if answer == _SERVED:
            _keep(duties, attendant)
        else:
            os.waitpid(attendant, 0)
    finally:
        os._exit(0)


def _close_the_rest(duties: Duties, writer: int) -> None:
    os.setsid()
    processes.reset_signals()
    kept = (*(port.listener.fileno() for port in duties.ports), duties.pidfd, duties.netns_fd, writer)
    kept += () if duties.userns_fd is None else (duties.userns_fd,)
    nothing = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
    for number in (0, 1, 2):
        if number not in kept:
            os.dup2(nothing, number)
    processes.close_fds(keep=kept)


def _attendant(duties: Duties, *, not_kept: tuple[int, ...] = ()) -> tuple[int, bytes]:
    """A new attendant: its number, and what it says of its beginning."""
    reader, writer = os.pipe2(os.O_CLOEXEC)
    pid = processes.fork()
    if pid == 0:
        for fd in (reader, *not_kept):
            os.close(fd)
        serve(duties, writer)
    os.close(writer)
    with os.fdopen(reader, "rb") as pipe:
        return pid, pipe.read()


def _keep(duties: Duties, attendant: int) -> None:
    """Until the container has ended: start *attendant* anew whenever it has."""
    pause_s = _FIRST_PAUSE_S
    while True:
        lived_s = _wait_for_end(attendant)
        if _has_ended(duties.pidfd, within_s=pause_s):
            return
        pause_s = _FIRST_PAUSE_S if lived_s > _STEADY_AFTER_S else min(2 * pause_s, _LONGEST_PAUSE_S)
        attendant, _answer = _attendant(duties)


def _wait_for_end(attendant: int) -> float:
    """For how long it lived from now on."""
    begun = time.monotonic()
    os.waitpid(attendant, 0)
    return time.monotonic() - begun


def _has_ended(pidfd: int, *, within_s: float) -> bool:
    poller = select.poll()
    poller.register(pidfd, select.POLLIN)
    return bool(poller.poll(within_s * 1000))
