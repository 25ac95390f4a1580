"""`network: bridge` and named networks: a container's own network namespace, on a bridge of the host, out by NAT (`nat.py`).

A bridge, its addresses and its table exist while at least one container is connected. Nothing is recorded in files: names derive
from ids, addresses are read from the links. One lock for the whole host, since bridges are the host's.

`launch0` is everybody's who asks for `bridge`; its ports are isolated from each other. A named network has a bridge `ln-…` of its
own, whose ports are not.
"""

from __future__ import annotations

import errno
import os
import re
import socket
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from ipaddress import IPv4Interface, IPv4Network, IPv6Interface, IPv6Network
from pathlib import Path

from runtime.errors import NetworkError, RuntimeFailure, Unsupported
from runtime.file_lock import locked
from runtime.kernel import processes
from runtime.light_dataclasses import dataclass
from runtime.network import nat, veth
from runtime.network.addresses import (
    Address,
    Member,
    Subnet,
    address6_beside,
    alias_of,
    choose_subnet,
    free_address,
    gateway_of,
    members_in,
    subnet6_of,
)
from runtime.network.links import Interface, Link, Links
from runtime.network.mode import needs_root
from runtime.network.netlink import NetlinkError

NAMED_PREFIX = "ln-"

_BRIDGES = re.compile(r"launch\d|ln-.+")
_GONE_WITHIN_S = 0.5
_LINGERS_S = 0.3
_LOCK_DIR = Path("/run/launch")
_IPV6 = Path("/proc/sys/net/ipv6/conf")
_MAC = bytes.fromhex("021a756e6368")
"""A fixed, locally administered address: without one the bridge takes the lowest of its ports', and changes it with them."""


@dataclass(frozen=True, slots=True)
class Connection:
    """How a container is connected."""

    address: Address
    gateway: Address
    """The bridge: the host, as the container reaches it."""
    interface: str
    """The host's end."""
    bridge: str
    address6: Address | None = None


@dataclass(frozen=True, slots=True)
class _Bridge:
    name: str
    index: int
    subnet: IPv4Network
    subnet6: IPv6Network | None

    @property
    def subnets(self) -> tuple[Subnet, ...]:
        return (self.subnet,) if self.subnet6 is None else (self.subnet, self.subnet6)


def connect(pid: int, container_id: str, *, network: str | None = None, names: Sequence[str] = ()) -> Connection:
    """Join the network namespace of process *pid* to the bridge, or to that of *network*, where others know it by its *names*.
    Call it from the host's network namespace, as root.

    Raises Unsupported without the privileges or the kernel's parts, NetworkError otherwise; nothing is left behind then.
    """
    if os.geteuid() != 0:
        raise needs_root("bridge" if network is None else network)
    where = "the bridge" if network is None else f"network `{network}`"
    with explaining(f"connecting container `{container_id}` to {where}"):
        netns_fd = os.open(f"/proc/{pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        try:
            with locked_host() as links:
                return _connect(links, netns_fd, Member(container_id, (), tuple(names)), network)
        finally:
            os.close(netns_fd)


def disconnect(container_id: str) -> None:
    """Take the container off its bridge; the last one takes the bridge and the table along. Idempotent."""
    host_end, has_bridges = _look(container_id)
    if host_end is not None or has_bridges:
        _disconnect(container_id, host_end)


def _disconnect(container_id: str, host_end: int | None) -> None:
    """Take the link *host_end* away: by its number, since a next attempt of the run may have a link of that name by now."""
    with explaining(f"disconnecting container `{container_id}` from its bridge"), locked_host() as links:
        if host_end is not None:
            links.remove(host_end)
        _remove_unused(links)


def disconnect_soon(container_id: str) -> None:
    """`disconnect` by a process of its own, for a container whose processes have ended: the kernel takes 25 ms for each link, and
    nobody has to wait for that. Should that process be killed, `shared_networks.remove_leftovers` does what is left."""
    host_end, has_bridges = _look(container_id)
    if host_end is None and not has_bridges:
        return
    # Twice, so that nobody has to reap the one that does it.
    child = processes.run_in_child(lambda: (processes.run_in_child(lambda: _disconnect_alone(container_id, host_end)), 0)[1])
    os.waitpid(child, 0)


def _look(container_id: str) -> tuple[int | None, bool]:
    """The index of the container's link on the host, and whether there are bridges of ours at all."""
    names = {name: index for index, name in socket.if_nameindex()}
    return names.get(veth.host_end_name(container_id)), any(map(is_bridge, names))


def _disconnect_alone(container_id: str, host_end: int | None) -> None:
    processes.reset_signals()
    processes.close_fds(first=0)  # leases, locks and pipes of the caller's
    processes.rename("launch-unlink")
    # The kernel ends namespaces many at a time; one after another under the lock would take as many times as long.
    deadline = time.monotonic() + _GONE_WITHIN_S
    while host_end in {index for index, _ in socket.if_nameindex()} and time.monotonic() < deadline:
        time.sleep(0.005)
    # Containers follow one another: the next finds the bridge still there, and does not wait while it is removed.
    time.sleep(_LINGERS_S)
    _disconnect(container_id, host_end)


def is_bridge(interface: str) -> bool:
    """Whether a bridge of ours is called so."""
    return _BRIDGES.fullmatch(interface) is not None


def bridge_of(network: str) -> str:
    """What the bridge of the network called *network* is called."""
    return veth.interface_name(NAMED_PREFIX, network)


def try_out() -> None:
    """Make a bridge, a pair and the table in this process's network namespace, to see whether that works.

    For a caller that is in a namespace of its own, which takes all of it along when it ends.
    """
    if os.geteuid() != 0:
        raise needs_root("bridge")
    with explaining("making a bridge"), Links() as links, open("/proc/self/ns/net", "rb") as netns:
        made = _ensure_bridge(links, None)
        nat.ensure_nat(made.name, made.subnets, shared=False)
        name = veth.host_end_name("probe")
        index = links.add_pair(name, inside=veth.INSIDE, netns_fd=netns.fileno(), mtu=1500, bridge=made.index)
        links.set_port(index, alias="probe", isolated=True)


@contextmanager
def explaining(doing: str) -> Iterator[None]:
    """Failures of the body as RuntimeFailures that say what was *doing*, and what the kernel means by them."""
    try:
        yield
    except RuntimeFailure as failure:
        raise type(failure)(f"{doing} failed: {failure.message}", hint=failure.hint) from failure
    except OSError as error:
        raise _explain(error, doing) from error


def _explain(error: OSError, doing: str) -> RuntimeFailure:
    """*error* of netlink or of a system call, with what it means and what works instead."""
    code = error.errno or 0
    words = f"{doing} failed: {error.strerror or error} ({errno.errorcode.get(code, code)})"
    if code == errno.EPERM:
        hint = "a bridge needs root and CAP_NET_ADMIN: `network=host` shares the host's network without"
        return Unsupported(words, hint=hint)
    if isinstance(error, NetlinkError) and code in (errno.EOPNOTSUPP, errno.EPROTONOSUPPORT, errno.ENOENT):
        return Unsupported(words, hint="the kernel may lack `bridge`, `veth` or `nf_tables` (`launch doctor` says which)")
    return NetworkError(words)


@contextmanager
def locked_host() -> Iterator[Links]:
    """netlink on the host's network namespace, under the lock."""
    _LOCK_DIR.mkdir(mode=0o700, exist_ok=True)
    with locked(_LOCK_DIR / "network.lock"), Links() as links:
        yield links


def _connect(links: Links, netns_fd: int, member: Member, network: str | None) -> Connection:
    bridge = _ensure_bridge(links, network)
    try:
        nat.ensure_nat(bridge.name, bridge.subnets, shared=network is not None)
        _enable_forwarding(ipv6=bridge.subnet6 is not None)
        _remove_host_end(links, member.container_id)
        members = members_in(link.alias for link in links.all(master=bridge.index))
        address = free_address(bridge.subnet, {taken for one in members for taken in one.addresses})
        own: list[Interface] = [IPv4Interface((address, bridge.subnet.prefixlen))]
        if bridge.subnet6 is not None:
            own.append(IPv6Interface((address6_beside(address, bridge.subnet, bridge.subnet6), bridge.subnet6.prefixlen)))
        name = veth.host_end_name(member.container_id)
        index = links.add_pair(name, inside=veth.INSIDE, netns_fd=netns_fd, mtu=_uplink_mtu(links), bridge=bridge.index)
        # A port, not an interface: otherwise the host's end gets an IPv6 address and neighbour table of its own.
        veth.set_ipv6(name, "disable_ipv6", "1")
        alias = alias_of(Member(member.container_id, tuple(one.ip for one in own), member.names))
        links.set_port(index, alias=alias, isolated=network is None)
        veth.configure_inside(netns_fd, addresses=own, gateways=[str(gateway_of(subnet)) for subnet in bridge.subnets])
    except BaseException:
        _remove_host_end(links, member.container_id)
        _remove_unused(links)
        raise
    address6 = own[1].ip if len(own) > 1 else None
    return Connection(address, gateway_of(bridge.subnet), name, bridge.name, address6)


def _ensure_bridge(links: Links, network: str | None) -> _Bridge:
    """The bridge of *network*, or the shared one. A subnet that clashes with what the host has got since (a VPN came up) is given
    up: at once where nobody is connected, else for those who come from now on."""
    routed = _networks_in_use(links)
    # `launch1` … only when the first came to clash with a route.
    names = [bridge_of(network)] if network is not None else [f"launch{number}" for number in range(10)]
    for name in names:
        found = links.find(name)
        if found is not None:
            bridge = _read_bridge(links, found)
            clashes = bridge is None or any(bridge.subnet.overlaps(other) for link, other in routed if link != found.index)
            in_use = bool(links.all(master=found.index))
            if bridge is not None and (not clashes or (in_use and network is not None)):
                return bridge
            if in_use:
                continue
            _remove(links, found)
        return _make_bridge(links, name, [other for link, other in routed if found is None or link != found.index], network)
    raise NetworkError(
        "every bridge of launch clashes with a route of this host", hint="end runs, so that a bridge can be made anew"
    )


def _read_bridge(links: Links, found: Link) -> _Bridge | None:
    """None for a bridge without an address: it was half-made. The IPv4 address is set last."""
    networks = [address.network for index, address in links.addresses() if index == found.index and not address.is_link_local]
    subnet = next((one for one in networks if isinstance(one, IPv4Network)), None)
    if subnet is None:
        return None
    return _Bridge(found.name, found.index, subnet, next((one for one in networks if isinstance(one, IPv6Network)), None))


def _make_bridge(links: Links, name: str, routed: Sequence[Subnet], network: str | None) -> _Bridge:
    subnet = choose_subnet(routed)
    subnet6 = subnet6_of(subnet, seed=_machine_id()) if _host_has_ipv6(links) else None
    index = links.add_bridge(name, mac=_MAC, alias=f"launch network {network or 'bridge'}")
    # A container must not be able to advertise itself to the host as a router (CVE-2020-13401 in Docker).
    veth.set_ipv6(name, "accept_ra", "0")
    if subnet6 is None:
        veth.set_ipv6(name, "disable_ipv6", "1")
    gateways: list[Interface] = [] if subnet6 is None else [IPv6Interface((gateway_of(subnet6), subnet6.prefixlen))]
    links.bring_up(index, [*gateways, IPv4Interface((gateway_of(subnet), subnet.prefixlen))])
    return _Bridge(name, index, subnet, subnet6)


def _remove_host_end(links: Links, container_id: str) -> None:
    found = links.find(veth.host_end_name(container_id))
    if found is not None:
        links.remove(found.index)


def _remove_unused(links: Links) -> None:
    found = links.all()
    for link in found:
        if is_bridge(link.name) and not any(port.master == link.index for port in found):
            _remove(links, link)


def _remove(links: Links, bridge: Link) -> None:
    """The table first: a bridge that nobody uses is found by the next who looks, a table without one would not be."""
    nat.remove_nat(bridge.name)
    links.remove(bridge.index)


def _networks_in_use(links: Links) -> list[tuple[int | None, Subnet]]:
    """Every network that this host has a route to or an address in, and by which link; not the default route."""
    routes = [(route.link, route.network) for route in links.routes() if route.network.prefixlen > 0]
    return [*routes, *((index, address.network) for index, address in links.addresses())]


def _host_has_ipv6(links: Links) -> bool:
    """Whether there is a way out by IPv6: a default route that is no refusal (those are by `lo`, 1)."""
    return _IPV6.exists() and any(
        route.network.version == 6 and route.network.prefixlen == 0 and route.link not in (None, 1) for route in links.routes()
    )


def _uplink_mtu(links: Links) -> int:
    """The MTU behind the default route. With a larger one inside, path MTU discovery decides whether anything gets through."""
    defaults = [route for route in links.routes() if route.network.prefixlen == 0 and route.link not in (None, 1)]
    mtus = {link.index: link.mtu for link in links.all()} if defaults else {}
    preferred = min(defaults, key=lambda route: (route.network.version, route.metric), default=None)
    return 1500 if preferred is None else mtus.get(preferred.link or 0, 1500)


def _machine_id() -> bytes:
    """What tells this machine from others, and stays."""
    try:
        return Path("/etc/machine-id").read_bytes()
    except OSError:
        return socket.gethostname().encode()


def _enable_forwarding(*, ipv6: bool) -> None:
    """Let the host route between its interfaces, as Docker does too; who may use it is `nat.py`'s forward chain's to say."""
    switches = [Path("/proc/sys/net/ipv4/ip_forward")]
    if ipv6:
        switches.append(_IPV6 / "all/forwarding")
    for switch in switches:
        if switch.read_text().strip() == "1":
            continue
        if switch.parent.parent == _IPV6:
            # A router doesn't listen to advertisements, by which the host may have its own address and route: 2 listens anyway.
            for listening in _IPV6.glob("*/accept_ra"):
                if listening.read_text().strip() == "1":
                    listening.write_text("2")
        switch.write_text("1")
