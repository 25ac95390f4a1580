"""By which address and network interface a node and its neighbours reach each other."""

from __future__ import annotations

import socket
from dataclasses import dataclass
from ipaddress import ip_address

from launcher.errors import LaunchError
from runtime.network.links import Interface, Links

_ANY_PORT = 9


@dataclass(frozen=True, slots=True)
class Way:
    address: str
    """Of this machine, as others reach it."""
    interface: str | None


def way_to(peer: str, *, wanted: str | None) -> Way:
    """How this machine is reached from *peer* (a name or an address): by the interface *wanted*, else by the one that the
    kernel's route to it takes. Raises LaunchError."""
    if wanted is not None:
        return Way(_address_of(wanted), wanted)
    address = _source_towards(peer)
    with Links() as links:
        names = {link.index: link.name for link in links.all()}
        found = [names.get(index) for index, known in links.addresses() if str(known.ip) == address]
    return Way(address, found[0] if found else None)


def _address_of(interface: str) -> str:
    with Links() as links:
        link = links.find(interface)
        if link is None:
            others = ", ".join(sorted(each.name for each in links.all()))
            raise LaunchError(f"`{socket.gethostname()}` has no network interface `{interface}`", hint=f"it has {others}")
        known = [address for index, address in links.addresses() if index == link.index]
    usable = sorted((address for address in known if not address.ip.is_link_local), key=_by_version)
    if not usable:
        raise LaunchError(f"the network interface `{interface}` of `{socket.gethostname()}` has no address")
    return str(usable[0].ip)


def _by_version(address: Interface) -> int:
    return address.version


def _source_towards(peer: str) -> str:
    """The address that packets to *peer* leave with; none is sent."""
    try:
        found = socket.getaddrinfo(peer, _ANY_PORT, type=socket.SOCK_DGRAM)
    except socket.gaierror as error:
        raise LaunchError(f"the address of node `{peer}` is not known here: {error.strerror}") from error
    refusal: OSError | None = None
    for family, kind, protocol, _, target in found:
        try:
            with socket.socket(family, kind | socket.SOCK_CLOEXEC, protocol) as probe:
                probe.connect(target)
                return str(ip_address(probe.getsockname()[0].partition("%")[0]))
        except OSError as error:
            refusal = error
    raise LaunchError(
        f"there is no route from `{socket.gethostname()}` to node `{peer}`: {refusal}", hint="`cluster.interface=NAME`"
    )
