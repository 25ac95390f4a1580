"""The process that serves one container's network while it lives: published ports, names, pasta.

Only containers that need one of these have it. It holds the host's listeners and descriptors of the container's namespaces, and
ends when the container's init has ended. `proxy_supervisor.py` starts it, and starts it anew when it was killed.
"""

from __future__ import annotations

import json
import os
import selectors
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import NoReturn

from runtime.errors import RuntimeFailure
from runtime.kernel import capabilities, libc, processes
from runtime.light_dataclasses import dataclass
from runtime.network import loopback, pasta
from runtime.network.addresses import Member, members_in
from runtime.network.datagrams import DatagramForwarder
from runtime.network.forwarder import Forwarder
from runtime.network.links import Links
from runtime.network.name_servers import CONTAINER_SERVER, host_servers
from runtime.network.name_service import PORT, NameService
from runtime.network.published import BoundPort

TITLE = "launch-network"

_INSIDE = ("127.0.0.1", "::1")


@dataclass(frozen=True, slots=True)
class ProxyConfig:
    """What a network proxy has to do, for which container."""

    pidfd: int
    """Of the container's init: its end is the proxy's."""
    netns_fd: int
    userns_fd: int | None = None
    """Of the user namespace that owns the network namespace, for an ordinary user, who may enter that only from there."""
    ports: tuple[BoundPort, ...] = ()
    address: str | None = None
    """Of the container on its bridge: tried where nothing listens on loopback."""
    serves_names: bool = False
    bridge: str | None = None
    """Whose ports are the members that are known by name."""
    pasta: str | None = None
    """Path of the program, where it makes the network."""


def run_proxy(config: ProxyConfig, writer: int) -> NoReturn:
    """Be the network proxy. What comes of the beginning is written to *writer*: `{}` when everything is served."""
    try:
        processes.rename(TITLE)
        processes.raise_open_file_limit()
        proxy = _Proxy(config)
    except BaseException as error:
        with suppress(OSError):
            os.write(writer, json.dumps(_failure_document(error)).encode())
        os._exit(1)
    try:
        os.write(writer, b"{}")
        os.close(writer)
        proxy.run()
    finally:
        os._exit(1)


def _failure_document(error: BaseException) -> dict[str, str | None]:
    if isinstance(error, RuntimeFailure):
        return {"kind": type(error).__name__, "message": error.message, "hint": error.hint}
    return {"kind": "NetworkError", "message": f"the container's network cannot be served: {error}", "hint": None}


class _Proxy:
    """Everything that is served, and the loop around it."""

    def __init__(self, config: ProxyConfig) -> None:
        self._config = config
        self._selector = selectors.DefaultSelector()
        self._selector.register(config.pidfd, selectors.EVENT_READ, self._end)
        self._names: NameService | None = None
        self._own_namespace = os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        self._links = Links() if config.serves_names else None
        """Of the host's network namespace, wherever this process is."""
        self._one_asks = threading.Lock()
        self._pasta: int | None = None
        if config.pasta is not None:
            self._pasta = pasta.start(config.pasta, netns_fd=config.netns_fd, userns_fd=config.userns_fd)
            self._selector.register(os.pidfd_open(self._pasta), selectors.EVENT_READ, self._end_with_pasta)
        elif config.userns_fd is not None:
            libc.setns(config.userns_fd, processes.NEWUSER)
        # Inside for good; who sends to the host's side goes back for the moment of making a socket.
        libc.setns(config.netns_fd, processes.NEWNET)
        loopback.bring_up()
        targets = (*_INSIDE, *([config.address] if config.address else ()))
        connections, datagrams = Forwarder(self._selector, targets), DatagramForwarder(self._selector, targets)
        for port in config.ports:
            (datagrams if port.published.protocol == "udp" else connections).add(port.listener, port.published.inside)
        if config.serves_names:
            self._names = self._name_service()
        # What a container sends is read here: with no more power than going back to the host's namespace takes.
        kept = capabilities.mask({"CAP_SYS_ADMIN"} if config.serves_names else ())
        libc.capset(effective=kept, permitted=kept)

    def _name_service(self) -> NameService:
        udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
        udp.bind((CONTAINER_SERVER, PORT))
        tcp = socket.create_server((CONTAINER_SERVER, PORT))
        return NameService(
            self._selector, udp=udp, tcp=tcp, members=self._members, servers=host_servers, on_host=self._socket_on_host
        )

    def _members(self) -> list[Member]:
        links, bridge = self._links, self._config.bridge
        if links is None or bridge is None:
            return []
        with self._one_asks:
            found = links.find(bridge)
            return [] if found is None else members_in(port.alias for port in links.all(master=found.index))

    def _socket_on_host(self, server: str, kind: int) -> socket.socket:
        with self._on_host():
            return socket.socket(socket.AF_INET6 if ":" in server else socket.AF_INET, kind | socket.SOCK_CLOEXEC)

    @contextmanager
    def _on_host(self) -> Iterator[None]:
        libc.setns(self._own_namespace, processes.NEWNET)
        try:
            yield
        finally:
            libc.setns(self._config.netns_fd, processes.NEWNET)

    def _end(self, _: int) -> NoReturn:
        if self._pasta is not None:
            with suppress(ProcessLookupError):
                os.kill(self._pasta, signal.SIGKILL)
            os.waitpid(self._pasta, 0)
        os._exit(0)

    def _end_with_pasta(self, _: int) -> NoReturn:
        """The container has lost its interface: start over with a new one."""
        os._exit(1)

    def run(self) -> None:
        while True:
            deadline = self._names.next_deadline() if self._names is not None else None
            timeout = None if deadline is None else max(0.0, deadline - time.monotonic())
            for key, events in self._selector.select(timeout):
                handle: Callable[[int], None] = key.data
                handle(events)
            if self._names is not None:
                self._names.expire()
