"""Links, addresses and routes of a network namespace, by rtnetlink (rtnetlink(7), linux/if_link.h).

The messages that a bridge with containers needs and no others.
"""

from __future__ import annotations

import errno
import socket
import struct
from collections.abc import Iterable
from ipaddress import IPv4Interface, IPv4Network, IPv6Interface, IPv6Network, ip_address, ip_interface, ip_network

from runtime.light_dataclasses import dataclass
from runtime.network.netlink import (
    CREATE,
    EXCLUSIVE,
    ROUTE,
    Message,
    Netlink,
    NetlinkError,
    attribute,
    attributes,
    nested,
    number,
    text,
    to_text,
)

Interface = IPv4Interface | IPv6Interface
Network = IPv4Network | IPv6Network

_NEW_LINK, _DEL_LINK, _GET_LINK = 16, 17, 18
_NEW_ADDRESS, _GET_ADDRESS = 20, 22
_NEW_ROUTE, _GET_ROUTE = 24, 26

_IFLA_ADDRESS, _IFLA_IFNAME, _IFLA_MTU, _IFLA_MASTER = 1, 3, 4, 10
_IFLA_LINKINFO, _IFLA_IFALIAS, _IFLA_NET_NS_FD = 18, 20, 28
_INFO_KIND, _INFO_DATA, _INFO_SLAVE_KIND, _INFO_SLAVE_DATA = 1, 2, 4, 5
_VETH_INFO_PEER = 1
_BRPORT_ISOLATED = 33
_IFF_UP = 1

_IFA_ADDRESS, _IFA_LOCAL, _IFA_BROADCAST = 1, 2, 4
_IFA_F_NODAD, _IFA_F_PERMANENT = 0x02, 0x80

_RTA_DST, _RTA_OIF, _RTA_GATEWAY, _RTA_PRIORITY = 1, 4, 5, 6
_TABLE_MAIN, _TABLE_LOCAL, _PROTOCOL_BOOT, _SCOPE_UNIVERSE, _UNICAST = 254, 255, 3, 0, 1
_CLONED = 0x200

_LINK = struct.Struct("=BxHiII")
_ADDRESS = struct.Struct("=BBBBI")
_ROUTE = struct.Struct("=BBBBBBBBI")


@dataclass(frozen=True, slots=True)
class Link:
    """An interface as the kernel describes it."""

    index: int
    name: str
    mtu: int
    alias: str | None = None
    master: int | None = None
    """The index of the bridge that it is a port of."""


@dataclass(frozen=True, slots=True)
class Route:
    """A route to *network*; behind which link, where it is one."""

    network: Network
    link: int | None
    metric: int = 0


def _link_message(kind: int, *attributes_: bytes, index: int = 0, up: bool = False, flags: int = 0) -> Message:
    up_flag = _IFF_UP if up else 0
    return Message(kind, _LINK.pack(socket.AF_UNSPEC, 0, index, up_flag, up_flag) + b"".join(attributes_), flags)


class Links(Netlink):
    """rtnetlink on one network namespace."""

    def __init__(self) -> None:
        super().__init__(ROUTE)

    def find(self, name: str) -> Link | None:
        """The link called *name*."""
        try:
            answers = self.ask(_link_message(_GET_LINK, text(_IFLA_IFNAME, name)))
        except NetlinkError as error:
            if error.errno == errno.ENODEV:
                return None
            raise
        return next((_link(body) for kind, body in answers if kind == _NEW_LINK), None)

    def all(self, *, master: int | None = None) -> list[Link]:
        """Every link, or every port of the bridge with the index *master*."""
        chosen = () if master is None else (number(_IFLA_MASTER, master),)
        found = [_link(body) for kind, body in self.dump(_link_message(_GET_LINK, *chosen)) if kind == _NEW_LINK]
        return [link for link in found if master is None or link.master == master]

    def addresses(self) -> list[tuple[int, Interface]]:
        """Every address, with the index of the link that has it."""
        found: list[tuple[int, Interface]] = []
        for kind, body in self.dump(Message(_GET_ADDRESS, _ADDRESS.pack(socket.AF_UNSPEC, 0, 0, 0, 0))):
            if kind != _NEW_ADDRESS:
                continue
            _family, prefix, _flags, _scope, index = _ADDRESS.unpack_from(body)
            known = attributes(body[_ADDRESS.size :])
            packed = known.get(_IFA_LOCAL) or known.get(_IFA_ADDRESS)
            if packed is not None:
                found.append((index, ip_interface((packed, prefix))))
        return found

    def kept_addresses(self, index: int) -> list[bytes]:
        """The addresses of the link *index* that somebody gave it for good, as the kernel tells them: not what it made itself (of
        link-local scope) or heard from a router."""
        told = self.dump(Message(_GET_ADDRESS, _ADDRESS.pack(socket.AF_UNSPEC, 0, 0, 0, index)))
        found = []
        for kind, body in told:
            _family, _prefix, flags, scope, link = _ADDRESS.unpack_from(body)
            if kind == _NEW_ADDRESS and link == index and flags & _IFA_F_PERMANENT and scope == _SCOPE_UNIVERSE:
                found.append(body)
        return found

    def add_addresses(self, index: int, addresses: Iterable[bytes]) -> None:
        """Give the link *index* what `kept_addresses` told of another, or of itself elsewhere."""
        messages = []
        for told in addresses:
            family, prefix, _flags, _scope, _link = _ADDRESS.unpack_from(told)
            known = attributes(told[_ADDRESS.size :])
            kept = [attribute(kind, known[kind]) for kind in (_IFA_LOCAL, _IFA_ADDRESS, _IFA_BROADCAST) if kind in known]
            flags = 0 if family == socket.AF_INET else _IFA_F_NODAD
            head = _ADDRESS.pack(family, prefix, flags, _SCOPE_UNIVERSE, index)
            messages.append(Message(_NEW_ADDRESS, head + b"".join(kept), CREATE | EXCLUSIVE))
        if messages:
            self.ask(*messages)

    def move(self, index: int, *, netns_fd: int, name: str) -> None:
        """Give the link *index* to another network namespace, where it is called *name*. It may be there under its old name when
        this fails."""
        self.ask(_link_message(_NEW_LINK, number(_IFLA_NET_NS_FD, netns_fd), text(_IFLA_IFNAME, name), index=index))

    def routes(self) -> list[Route]:
        """Every route of every table, without the local ones (addresses say those) and what is merely remembered of a peer."""
        found: list[Route] = []
        for kind, body in self.dump(Message(_GET_ROUTE, _ROUTE.pack(socket.AF_UNSPEC, *[0] * 8))):
            if kind != _NEW_ROUTE:
                continue
            family, prefix, _, _, table, _, _, _, flags = _ROUTE.unpack_from(body)
            if family not in (socket.AF_INET, socket.AF_INET6) or flags & _CLONED or table == _TABLE_LOCAL:
                continue
            known = attributes(body[_ROUTE.size :])
            packed = known.get(_RTA_DST, bytes(4 if family == socket.AF_INET else 16))
            found.append(
                Route(
                    ip_network((packed, prefix), strict=False), _word(known.get(_RTA_OIF)), _word(known.get(_RTA_PRIORITY)) or 0
                )
            )
        return found

    def add_bridge(self, name: str, *, mac: bytes, alias: str) -> int:
        """Make a bridge that is still down; its index."""
        kind = nested(_IFLA_LINKINFO, text(_INFO_KIND, "bridge"))
        self.ask(
            _link_message(_NEW_LINK, text(_IFLA_IFNAME, name), attribute(_IFLA_ADDRESS, mac), kind, flags=CREATE | EXCLUSIVE)
        )
        made = self.find(name)
        if made is None:
            raise NetlinkError(errno.ENODEV, f"the bridge `{name}` is gone again")
        self.ask(_link_message(_NEW_LINK, text(_IFLA_IFALIAS, alias), index=made.index))
        return made.index

    def add_pair(self, name: str, *, inside: str, netns_fd: int, mtu: int, bridge: int) -> int:
        """Make both ends of a veth pair where they belong: one called *inside* in the namespace *netns_fd*, and one called *name*
        here, a port of *bridge*. The index of the latter, which is still down."""
        peer = _LINK.pack(socket.AF_UNSPEC, 0, 0, 0, 0) + text(_IFLA_IFNAME, inside) + number(_IFLA_MTU, mtu)
        peer += number(_IFLA_NET_NS_FD, netns_fd)
        kind = nested(_IFLA_LINKINFO, text(_INFO_KIND, "veth"), nested(_INFO_DATA, nested(_VETH_INFO_PEER, peer)))
        ours = (text(_IFLA_IFNAME, name), number(_IFLA_MTU, mtu), number(_IFLA_MASTER, bridge), kind)
        self.ask(_link_message(_NEW_LINK, *ours, flags=CREATE | EXCLUSIVE))
        made = self.find(name)
        if made is None:
            raise NetlinkError(errno.ENODEV, f"`{name}` is gone again: the container ended")
        return made.index

    def set_port(self, index: int, *, alias: str, isolated: bool) -> None:
        """Name the port *index* of a bridge, isolate it from other isolated ports, bring it up."""
        data = nested(_INFO_SLAVE_DATA, attribute(_BRPORT_ISOLATED, bytes([isolated])))
        port = nested(_IFLA_LINKINFO, text(_INFO_SLAVE_KIND, "bridge"), data)
        self.ask(_link_message(_NEW_LINK, text(_IFLA_IFALIAS, alias), port, index=index, up=True))

    def bring_up(self, index: int, addresses: Iterable[Interface], gateways: Iterable[str] = ()) -> None:
        """Give the link *index* its *addresses*, bring it up and route everything else by *gateways*."""
        messages = [_address_message(index, address) for address in addresses]
        messages.append(_link_message(_NEW_LINK, index=index, up=True))
        for gateway in gateways:
            packed = ip_address(gateway).packed
            family = socket.AF_INET if len(packed) == 4 else socket.AF_INET6
            head = _ROUTE.pack(family, 0, 0, 0, _TABLE_MAIN, _PROTOCOL_BOOT, _SCOPE_UNIVERSE, _UNICAST, 0)
            body = head + attribute(_RTA_GATEWAY, packed) + number(_RTA_OIF, index)
            messages.append(Message(_NEW_ROUTE, body, CREATE | EXCLUSIVE))
        self.ask(*messages)

    def remove(self, index: int) -> None:
        """Remove the link *index*. Nothing happens when it is gone: a pair goes with either end's namespace."""
        try:
            self.ask(_link_message(_DEL_LINK, index=index))
        except NetlinkError as error:
            if error.errno != errno.ENODEV:
                raise


def _address_message(index: int, address: Interface) -> Message:
    family, flags = (socket.AF_INET, 0) if address.version == 4 else (socket.AF_INET6, _IFA_F_NODAD)
    head = _ADDRESS.pack(family, address.network.prefixlen, flags, 0, index)
    packed = address.ip.packed
    return Message(_NEW_ADDRESS, head + attribute(_IFA_LOCAL, packed) + attribute(_IFA_ADDRESS, packed), CREATE | EXCLUSIVE)


def _link(body: bytes) -> Link:
    _family, _type, index, _flags, _change = _LINK.unpack_from(body)
    known = attributes(body[_LINK.size :])
    return Link(
        index=index,
        name=to_text(known.get(_IFLA_IFNAME)) or "",
        mtu=_word(known.get(_IFLA_MTU)) or 1500,
        alias=to_text(known.get(_IFLA_IFALIAS)),
        master=_word(known.get(_IFLA_MASTER)),
    )


def _word(payload: bytes | None) -> int | None:
    return None if payload is None else int(struct.unpack("=I", payload)[0])
