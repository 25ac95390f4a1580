"""The networks that runs share, as they stand on this machine, and the end of those that a killed process left.

A network is a bridge; who is on it is written on the links of its members (`addresses.alias_of`). Making one and joining it is
`bridge.py`, on the way of a start and in few messages of our own; here nobody waits, and this is the one place of pyroute2, whose
import takes 0.2 s and 15 MB. Its nftables are a prototype that decodes every rule of the host, so tables stay with `nat.py`.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

from runtime.errors import NetworkError
from runtime.network import bridge, nat
from runtime.network.addresses import Member, member_in

_LINK_LOCAL_SCOPE = 253  # RT_SCOPE_LINK


class SharedNetwork(NamedTuple):
    """A bridge of launch's with who is on it."""

    bridge: str
    link: int
    """Its index."""
    subnets: tuple[str, ...]
    """`10.217.0.1/22`: with the bridge's own address, the gateway of its members."""
    ports: int
    members: tuple[Member, ...]

    @property
    def name(self) -> str:
        """What an experiment calls it; `bridge` for the one of those who gave no name."""
        return self.bridge.removeprefix(bridge.NAMED_PREFIX) if self.bridge.startswith(bridge.NAMED_PREFIX) else "bridge"


def read_networks() -> tuple[SharedNetwork, ...]:
    """Every network of launch's on this machine, by name. Raises OSError and NetworkError."""
    if not any(map(bridge.is_bridge, _interfaces())):
        return ()
    with _open_rtnetlink() as route:
        links = list(route.get_links())
        addresses = list(route.get_addr())
    found = []
    for link in links:
        name, index = link.get_attr("IFLA_IFNAME"), link["index"]
        if not bridge.is_bridge(name):
            continue
        own = [one for one in addresses if one["index"] == index and one["scope"] != _LINK_LOCAL_SCOPE]
        ports = [port for port in links if port.get_attr("IFLA_MASTER") == index]
        members = (member_in(port.get_attr("IFLA_IFALIAS")) for port in ports)
        subnets = tuple(f"{one.get_attr('IFA_ADDRESS')}/{one['prefixlen']}" for one in own)
        found.append(SharedNetwork(name, index, subnets, len(ports), tuple(one for one in members if one is not None)))
    return tuple(sorted(found))


def remove_leftovers() -> None:
    """Remove networks that nobody is connected to: of a process that was killed before it could. Costs one look while every
    network is in use. Raises RuntimeFailure."""
    if os.geteuid() != 0 or not any(_may_be_unused(name) for name in _interfaces() if bridge.is_bridge(name)):
        return
    with bridge.explaining("removing unused networks"), bridge.locked_host():
        unused = [network for network in read_networks() if not network.ports]
        if unused:
            with _open_rtnetlink() as route:
                for network in unused:
                    # The table first: a bridge that nobody uses is found by the next who looks, a table without one would not be.
                    nat.remove_nat(network.bridge)
                    route.link("del", index=network.link)


@contextmanager
def _open_rtnetlink() -> Iterator[Any]:
    """pyroute2's `IPRoute` on this process's network namespace. What the kernel refuses comes as an OSError; raises NetworkError
    where pyroute2 is missing."""
    try:
        from pyroute2 import IPRoute, NetlinkError
    except ImportError:
        raise NetworkError("the package pyroute2 is not installed here", hint="install launch with its dependencies") from None
    try:
        with IPRoute() as route:
            yield route
    except NetlinkError as error:
        raise OSError(error.code, os.strerror(error.code)) from error


def _interfaces() -> list[str]:
    return [name for _, name in socket.if_nameindex()]


def _may_be_unused(name: str) -> bool:
    """False where /sys shows a port of the bridge *name*; it may show another network namespace than this process is in."""
    with suppress(OSError):
        return not any(Path("/sys/class/net", name, "brif").iterdir())
    return True
