"""The supervisor of a container's network proxy: starts it, holds what it needs, and starts it anew should it be killed.

The proxy reads what a container sends; it may meet a bug or the kernel's want of memory. Its supervisor reads nothing and waits,
with the listeners open, so that who connects meanwhile waits in their queue and isn't refused. It ends with the container's init
and not with its maker: a run goes on without the run's supervisor, and so does its network. The proxy goes on without its own.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from typing import NoReturn

from runtime.errors import NetworkError, Unsupported
from runtime.kernel import processes
from runtime.network.network_proxy import TITLE, ProxyConfig, run_proxy

_SERVED = b"{}"
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.05, 5.0
_STEADY_AFTER_S = 10.0
"""A proxy that lived so long did not end because of how it began."""


def start_proxy(config: ProxyConfig) -> int:
    """Start a proxy and its supervisor, a child of this process; the supervisor's number, when everything is served. Raises what
    the proxy failed with."""
    pid, answer = _fork_and_hear(lambda writer: _run_supervisor(config, writer))
    if answer == _SERVED:
        return pid
    os.waitpid(pid, 0)
    if not answer:
        raise NetworkError("the process that serves the container's network was killed")
    failure = json.loads(answer)
    kind = Unsupported if failure["kind"] == "Unsupported" else NetworkError
    raise kind(failure["message"], hint=failure["hint"])


def _fork_and_hear(child: Callable[[int], NoReturn]) -> tuple[int, bytes]:
    """Fork *child*, which is given the end of a pipe: its number, and what it writes until it closes that."""
    reader, writer = os.pipe2(os.O_CLOEXEC)
    pid = processes.fork()
    if pid == 0:
        os.close(reader)
        child(writer)
    os.close(writer)
    with os.fdopen(reader, "rb") as pipe:
        return pid, pipe.read()


def _run_supervisor(config: ProxyConfig, writer: int) -> NoReturn:
    try:
        _close_the_rest(config, writer)
        processes.rename(TITLE)
        proxy, answer = _fork_proxy(config, not_kept=writer)
        os.write(writer, answer)
        os.close(writer)
        if answer == _SERVED:
            _restart_until_end(config, proxy)
        else:
            os.waitpid(proxy, 0)
    finally:
        os._exit(0)


def _close_the_rest(config: ProxyConfig, writer: int) -> None:
    os.setsid()
    processes.reset_signals()
    kept = (*(port.listener.fileno() for port in config.ports), config.pidfd, config.netns_fd, writer)
    kept += () if config.userns_fd is None else (config.userns_fd,)
    nothing = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
    for number in (0, 1, 2):
        if number not in kept:
            os.dup2(nothing, number)
    processes.close_fds(keep=kept)


def _fork_proxy(config: ProxyConfig, *, not_kept: int | None = None) -> tuple[int, bytes]:
    """A new proxy: its number, and what it says of its beginning."""

    def child(writer: int) -> NoReturn:
        if not_kept is not None:
            os.close(not_kept)
        run_proxy(config, writer)

    return _fork_and_hear(child)


def _restart_until_end(config: ProxyConfig, proxy: int) -> None:
    """Start *proxy* anew whenever it has ended, until the container has."""
    pause_s = _FIRST_PAUSE_S
    while True:
        begun = time.monotonic()
        os.waitpid(proxy, 0)
        lived_s = time.monotonic() - begun
        if processes.wait_ended(config.pidfd, timeout_s=pause_s):
            return
        pause_s = _FIRST_PAUSE_S if lived_s > _STEADY_AFTER_S else min(2 * pause_s, _LONGEST_PAUSE_S)
        proxy, _answer = _fork_proxy(config)
