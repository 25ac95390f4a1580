"""Ports of a container that the host's side reaches: what a person writes, and the host's listeners. Who carries the bytes is
`forwarder.py`."""

from __future__ import annotations

import errno
import socket
from collections.abc import Iterable
from contextlib import ExitStack
from dataclasses import dataclass

from runtime.errors import NetworkError, Unsupported

_WRITE = "write `8080:80`, `127.0.0.1:8080:80`, or `80` for any free port"


@dataclass(frozen=True, slots=True)
class PublishedPort:
    """A port of the container, and where the host offers it."""

    inside: int
    outside: int | None = None
    """None: any free one."""
    address: str | None = None
    """Of the host; None: every one it has."""

    def __str__(self) -> str:
        address = "" if self.address is None else f"[{self.address}]:" if ":" in self.address else f"{self.address}:"
        return f"{address}{'' if self.outside is None and not address else f'{self.outside or 0}:'}{self.inside}"


@dataclass(frozen=True, slots=True)
class BoundPort:
    """A published port with its listener, which is nobody's yet to serve."""

    published: PublishedPort
    listener: socket.socket

    @property
    def described(self) -> str:
        """`*:8080 → 80` (`*`: each of this machine's addresses), as `launch ps` shows it."""
        host, port = self.listener.getsockname()[:2]
        shown = "*" if self.published.address is None else f"[{host}]" if ":" in host else host
        return f"{shown}:{port} → {self.published.inside}"


def parse(text: str) -> PublishedPort:
    """`8080:80`, `127.0.0.1:8080:80`, `[::1]:8080:80`, `80` as Docker means them. Raises ValueError: what, a colon, a way out."""
    plain, _, protocol = text.partition("/")
    if protocol not in ("", "tcp"):
        raise ValueError(f"only TCP ports can be published, not {protocol or 'that'}: leave out `/{protocol}`")
    address: str | None = None
    ports = plain
    if plain.startswith("["):
        address, _, ports = plain[1:].partition("]:")
    elif plain.count(":") == 2:
        address, _, ports = plain.partition(":")
    if address is not None:
        from ipaddress import ip_address

        try:
            address = str(ip_address(address))
        except ValueError:
            raise ValueError(f"`{address}` is no address of a machine: {_WRITE}") from None
    outside, colon, inside = ports.rpartition(":")
    if "-" in ports:
        raise ValueError("ranges of ports are not supported: name each port")
    host_port = _port(outside, lowest=0) if colon and outside else 0
    return PublishedPort(_port(inside, lowest=1), host_port or None, address)


def _port(text: str, *, lowest: int) -> int:
    if not text.isdecimal() or not lowest <= int(text) <= 65535:
        raise ValueError(f"`{text}` is no port: {_WRITE}")
    return int(text)


def bind(ports: Iterable[PublishedPort]) -> list[BoundPort]:
    """Listeners for *ports* in this network namespace. Raises NetworkError for one that is taken; then none is left open."""
    bound: list[BoundPort] = []
    with ExitStack() as on_failure:
        for port in ports:
            listener = _listener(port)
            on_failure.callback(listener.close)
            bound.append(BoundPort(port, listener))
        on_failure.pop_all()
    return bound


def _listener(port: PublishedPort) -> socket.socket:
    where = f"port {port.outside} of {port.address or 'this machine'}"
    try:
        if port.address is not None:
            family = socket.AF_INET6 if ":" in port.address else socket.AF_INET
            return socket.create_server((port.address, port.outside or 0), family=family, backlog=128)
        if socket.has_dualstack_ipv6():
            return socket.create_server(("::", port.outside or 0), family=socket.AF_INET6, dualstack_ipv6=True, backlog=128)
        return socket.create_server(("0.0.0.0", port.outside or 0), backlog=128)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            hint = f"`publish={port.inside}` takes any free port; `ss -ltnp` says who has this one"
            raise NetworkError(f"{where} is in use", hint=hint) from error
        if error.errno == errno.EACCES:
            hint = "ports below 1024 are root's: publish a higher one"
            raise Unsupported(f"{where} may not be opened by you", hint=hint) from error
        if error.errno == errno.EADDRNOTAVAIL:
            raise NetworkError(f"this machine has no address {port.address}", hint="`ip addr` lists those that it has") from error
        raise NetworkError(f"{where} cannot be opened: {error.strerror}") from error
