"""Addresses of bridges and containers: which are free, and how a link says whose it is. Data only; no netlink here.

Who has which address is written nowhere but on the links themselves (`alias_of`): it is freed by what frees the link, so no
record can outlive its container.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

from runtime.errors import NetworkError
from runtime.light_dataclasses import dataclass

Subnet = IPv4Network | IPv6Network
Address = IPv4Address | IPv6Address

POOLS = tuple(IPv4Network(text) for text in ("10.217.0.0/16", "172.27.0.0/16", "10.93.0.0/16", "192.168.216.0/22"))
"""Private networks (RFC 1918) to choose from: the first that overlaps nothing that this host has a route to or an address in."""

_PREFIX = 22  # 1021 containers; a bridge takes 1024 ports
_PREFIX6 = 64

_ALIAS_WORD = "launch"
_ALIAS_BYTES = 250  # IFALIASZ is 256
_LABEL = re.compile(r"[^a-z0-9_.-]+")


@dataclass(frozen=True, slots=True)
class Member:
    """A container on a bridge, as the alias of its link says."""

    container_id: str
    addresses: tuple[Address, ...]
    names: tuple[str, ...] = ()


def choose_subnet(routed: Iterable[Subnet]) -> IPv4Network:
    """The first free network of POOLS. The default route overlaps everything and does not count."""
    taken = [network for network in routed if isinstance(network, IPv4Network) and network.prefixlen > 0]
    for pool in POOLS:
        if any(pool.subnet_of(network) for network in taken):
            continue
        inside = [network for network in taken if network.overlaps(pool)]
        for subnet in pool.subnets(new_prefix=_PREFIX):
            if not any(subnet.overlaps(network) for network in inside):
                return subnet
    raise NetworkError(
        f"no free private network for containers: this host has routes into each of {', '.join(map(str, POOLS))}",
        hint="`network=host` shares the host's network and needs no addresses",
    )


def subnet6_of(subnet: IPv4Network, *, seed: bytes) -> IPv6Network:
    """A unique local network (RFC 4193) to go with *subnet*: 40 bits of this machine (*seed*), then its own."""
    of_machine = hashlib.sha256(b"launch" + seed).digest()[:5]
    number = subnet.network_address.packed[1:3]
    return IPv6Network((b"\xfd" + of_machine + number + bytes(8), _PREFIX6))


def gateway_of(subnet: Subnet) -> Address:
    """The bridge's own address: the first of the subnet."""
    return subnet.network_address + 1


def free_address(subnet: IPv4Network, taken: Iterable[Address]) -> IPv4Address:
    """The lowest address that no container has."""
    used = set(taken) | {gateway_of(subnet)}
    for address in subnet.hosts():
        if address not in used:
            return address
    raise NetworkError(f"all addresses of {subnet} are in use by containers")


def address6_beside(address: IPv4Address, subnet: IPv4Network, subnet6: IPv6Network) -> IPv6Address:
    """The IPv6 address of the container that has *address*: the same number in *subnet6*."""
    return subnet6.network_address + (int(address) - int(subnet.network_address))


def host_name(text: str) -> str:
    """*text* as a name that a resolver can be asked for: `ResNet 50` is `resnet-50`. Empty when nothing is left of it."""
    return _LABEL.sub("-", text.lower()).strip("-.")[:63].strip("-.")


def alias_of(member: Member) -> str:
    """The alias (`ip link` shows it) of the host's end of a container's link. Names that don't fit are left out."""
    alias = f"{_ALIAS_WORD} {member.container_id} {','.join(map(str, member.addresses))}"
    fitting: list[str] = []
    for name in member.names:
        if len(alias) + 1 + len(",".join((*fitting, name))) <= _ALIAS_BYTES:
            fitting.append(name)
    return f"{alias} {','.join(fitting)}".rstrip()


def member_in(alias: str | None) -> Member | None:
    """The member that `alias_of` wrote; None for anybody else's link."""
    words = (alias or "").split(" ")
    if len(words) not in (3, 4) or words[0] != _ALIAS_WORD:
        return None
    try:
        addresses = tuple(ip_address(word) for word in words[2].split(","))
    except ValueError:
        return None
    return Member(words[1], addresses, tuple(words[3].split(",")) if len(words) == 4 else ())


def members_in(aliases: Iterable[str | None]) -> list[Member]:
    """Every member among *aliases*."""
    return [member for alias in aliases if (member := member_in(alias)) is not None]


def addresses_named(members: Sequence[Member], name: str) -> tuple[Address, ...]:
    """The addresses of everybody called *name* (an id, a run's name, an experiment's)."""
    wanted = name.lower().rstrip(".")
    return tuple(address for member in members if wanted in (member.container_id, *member.names) for address in member.addresses)
