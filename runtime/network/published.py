"""Ports of a container that the host's side reaches: what a person writes, and the host's listeners. Who carries the bytes is
`forwarder.py`, and `datagrams.py` for UDP."""

from __future__ import annotations

import errno
import socket
from collections.abc import Iterable
from contextlib import ExitStack
from typing import Literal

from runtime.errors import NetworkError, Unsupported
from runtime.light_dataclasses import dataclass

_WRITE = "write `8080:80`, `127.0.0.1:8080:80`, or `80` for any free port; `/udp` behind it for UDP"


Protocol = Literal["tcp", "udp"]


@dataclass(frozen=True, slots=True)
class PublishedPort:
    """A port of the container, and where the host offers it."""

    inside: int
    outside: int | None = None
    """None: any free one."""
    address: str | None = None
    """Of the host; None: every one it has."""
    protocol: Protocol = "tcp"

    def __str__(self) -> str:
        address = "" if self.address is None else f"[{self.address}]:" if ":" in self.address else f"{self.address}:"
        outside = "" if self.outside is None and not address else f"{self.outside or 0}:"
        return f"{address}{outside}{self.inside}{self.suffix}"

    @property
    def suffix(self) -> str:
        """What is said of a protocol that isn't TCP."""
        return "" if self.protocol == "tcp" else f"/{self.protocol}"


@dataclass(frozen=True, slots=True)
class BoundPort:
    """A published port with its listener, which is nobody's yet to serve."""

    published: PublishedPort
    listener: socket.socket

    @property
    def label(self) -> str:
        """`*:8080 → 80` (`*`: each of this machine's addresses), as `launch ps` shows it."""
        host, port = self.listener.getsockname()[:2]
        shown = "*" if self.published.address is None else f"[{host}]" if ":" in host else host
        return f"{shown}:{port} → {self.published.inside}{self.published.suffix}"


def parse(text: str) -> PublishedPort:
    """`8080:80`, `127.0.0.1:8080:80`, `80`, `53/udp` as Docker means them. Raises ValueError: what, a colon, a way out."""
    plain, slash, protocol = text.partition("/")
    if slash and protocol not in ("tcp", "udp"):
        raise ValueError(f"only TCP and UDP ports can be published, not `{protocol}`: {_WRITE}")
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
            raise ValueError(f"`{address}` is not an address of a machine: {_WRITE}") from None
    outside, colon, inside = ports.rpartition(":")
    if "-" in ports:
        raise ValueError("ranges of ports are not supported: name each port")
    host_port = _port(outside, lowest=0) if colon and outside else 0
    return PublishedPort(_port(inside, lowest=1), host_port or None, address, "udp" if protocol == "udp" else "tcp")


def _port(text: str, *, lowest: int) -> int:
    if not text.isdecimal() or not lowest <= int(text) <= 65535:
        raise ValueError(f"`{text}` is not a port: {_WRITE}")
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
    where = f"port {port.outside}{port.suffix} of {port.address or 'this machine'}"
    try:
        if port.protocol == "udp":
            return _datagram_socket(port)
        if port.address is not None:
            family = socket.AF_INET6 if ":" in port.address else socket.AF_INET
            return socket.create_server((port.address, port.outside or 0), family=family, backlog=128)
        if socket.has_dualstack_ipv6():
            return socket.create_server(("::", port.outside or 0), family=socket.AF_INET6, dualstack_ipv6=True, backlog=128)
        return socket.create_server(("0.0.0.0", port.outside or 0), backlog=128)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            hint = f"`publish={port.inside}{port.suffix}` takes any free port; `ss -ltunp` says who has this one"
            raise NetworkError(f"{where} is in use", hint=hint) from error
        if error.errno == errno.EACCES:
            hint = "ports below 1024 are root's: publish a higher one"
            raise Unsupported(f"{where} may not be opened by you", hint=hint) from error
        if error.errno == errno.EADDRNOTAVAIL:
            raise NetworkError(f"this machine has no address {port.address}", hint="`ip addr` lists those that it has") from error
        raise NetworkError(f"{where} cannot be opened: {error.strerror}") from error


def _datagram_socket(port: PublishedPort) -> socket.socket:
    everywhere = socket.has_dualstack_ipv6()
    address = port.address or ("::" if everywhere else "0.0.0.0")
    made = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
    try:
        if made.family == socket.AF_INET6:
            made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, port.address is not None)
        made.bind((address, port.outside or 0))
    except BaseException:
        made.close()
        raise
    return made
