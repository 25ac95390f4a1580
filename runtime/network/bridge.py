"""`network: bridge`: a container's own network namespace, joined to the host's bridge `launch0`, out through NAT (`nat.py`).

The bridge, its address and the NAT table exist while at least one container is connected. Nothing is recorded in files: names
derive from the container's id and addresses are read from the links. One lock for the whole host, since the bridge is the host's.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Interface, IPv4Network
from pathlib import Path
from typing import Any

from runtime.errors import Unsupported
from runtime.file_lock import locked
from runtime.network import nat, veth
from runtime.network.addresses import address_in, alias_of, choose_subnet, free_address, gateway_of
from runtime.network.forked_call import forked_call

BRIDGE = "launch0"

_LOCK_DIR = Path("/run/launch")
_MAC = "02:1a:75:6e:63:68"
"""A fixed, locally administered address: without one the bridge takes the lowest of its ports', and changes it with them."""


@dataclass(frozen=True, slots=True)
class Link:
    """How a container is connected."""

    address: IPv4Address
    gateway: IPv4Address
    """The bridge: the host, as the container reaches it."""
    interface: str
    """The host's end."""


def connect(pid: int, container_id: str) -> Link:
    """Join the network namespace of process *pid* to the bridge. Call it from the host's network namespace, as root.

    Raises Unsupported without the privileges or the kernel's parts, NetworkError otherwise; nothing is left behind then.
    """
    _need_root()
    result = forked_call(lambda: _connect(pid, container_id), doing=f"connecting container `{container_id}` to the bridge")
    return Link(IPv4Address(result["address"]), IPv4Address(result["gateway"]), result["interface"])


def disconnect(container_id: str) -> None:
    """Take the container off the bridge; the last one takes the bridge and the NAT table along. Idempotent."""
    names = {name for _, name in socket.if_nameindex()}
    in_use = any(name.startswith(veth.HOST_END_PREFIX) for name in names)
    if veth.host_end_name(container_id) not in names and (in_use or BRIDGE not in names):
        return  # nothing to do is common when a run is recovered, and costs no import of pyroute2
    forked_call(lambda: _disconnect(container_id), doing=f"disconnecting container `{container_id}` from the bridge")


def try_out() -> None:
    """Make a bridge, a pair and the NAT table in this process's network namespace, to see whether that works.

    For a caller that is in a namespace of its own, which takes all of it along when it ends.
    """
    _need_root()
    forked_call(_try_out, doing="making a bridge")


def _need_root() -> None:
    if os.geteuid() != 0:
        raise Unsupported(
            "`network: bridge` needs root", hint="`network=host` shares the host's network, `network=none` needs nothing"
        )


def _try_out() -> dict[str, str]:
    from pyroute2.iproute.linux import IPRoute

    with IPRoute() as ipr, open("/proc/self/ns/net", "rb") as netns:
        index, subnet = _ensure_bridge(ipr)
        nat.ensure_nat(subnet, BRIDGE)
        alias = alias_of("probe", gateway_of(subnet) + 1)
        name = veth.host_end_name("probe")
        veth.make_pair(ipr, name=name, alias=alias, netns_fd=netns.fileno(), bridge_index=index, mtu=1500)
    return {}


@contextmanager
def _host() -> Iterator[Any]:
    """netlink on the host's network namespace, under the lock."""
    from pyroute2.iproute.linux import IPRoute

    _LOCK_DIR.mkdir(mode=0o700, exist_ok=True)
    with locked(_LOCK_DIR / "network.lock"), IPRoute() as ipr:
        yield ipr


def _connect(pid: int, container_id: str) -> dict[str, str]:
    netns = Path(f"/proc/{pid}/ns/net")
    with _host() as ipr:
        index, subnet = _ensure_bridge(ipr)
        try:
            nat.ensure_nat(subnet, BRIDGE)
            _let_forward()
            veth.remove_host_end(ipr, container_id)
            address = free_address(subnet, _taken(ipr, index))
            netns_fd = os.open(netns, os.O_RDONLY | os.O_CLOEXEC)  # closed with this process
            name = veth.host_end_name(container_id)
            veth.make_pair(
                ipr,
                name=name,
                alias=alias_of(container_id, address),
                netns_fd=netns_fd,
                bridge_index=index,
                mtu=_uplink_mtu(ipr),
            )
            veth.configure_inside(netns, address=address, subnet=subnet, gateway=gateway_of(subnet))
        except BaseException:
            veth.remove_host_end(ipr, container_id)
            _remove_if_unused(ipr)
            raise
        return {"address": str(address), "gateway": str(gateway_of(subnet)), "interface": name}


def _disconnect(container_id: str) -> dict[str, str]:
    with _host() as ipr:
        veth.remove_host_end(ipr, container_id)
        _remove_if_unused(ipr)
    return {}


def _ensure_bridge(ipr: Any) -> tuple[int, IPv4Network]:
    """Index and subnet of `launch0`. Its address is set last, so a bridge without one was half-made and is made anew."""
    found = ipr.link_lookup(ifname=BRIDGE)
    if found:
        for message in ipr.get_addr(family=socket.AF_INET, index=found[0]):
            return found[0], IPv4Interface(f"{message.get_attr('IFA_ADDRESS')}/{message['prefixlen']}").network
        ipr.link("del", index=found[0])
    subnet = choose_subnet(_routed(ipr))
    ipr.link("add", ifname=BRIDGE, kind="bridge", address=_MAC)
    index = ipr.link_lookup(ifname=BRIDGE)[0]
    # IPv4 only. With IPv6 left on a container could advertise itself to the host as a router (CVE-2020-13401 in Docker).
    disable_ipv6 = Path(f"/proc/sys/net/ipv6/conf/{BRIDGE}/disable_ipv6")
    if disable_ipv6.exists():
        disable_ipv6.write_text("1")
    ipr.link("set", index=index, state="up")
    ipr.addr("add", index=index, address=str(gateway_of(subnet)), prefixlen=subnet.prefixlen)
    return index, subnet


def _remove_if_unused(ipr: Any) -> None:
    for index in ipr.link_lookup(ifname=BRIDGE):
        if not any(link.get_attr("IFLA_MASTER") == index for link in ipr.get_links()):
            ipr.link("del", index=index)
            nat.remove_nat(BRIDGE)


def _taken(ipr: Any, bridge_index: int) -> set[IPv4Address]:
    aliases = (link.get_attr("IFLA_IFALIAS") for link in ipr.get_links() if link.get_attr("IFLA_MASTER") == bridge_index)
    return {address for alias in aliases if (address := address_in(alias)) is not None}


def _routed(ipr: Any) -> list[IPv4Network]:
    """Every network that some table of this host has a route to."""
    networks = []
    for route in ipr.get_routes(family=socket.AF_INET):
        destination = route.get_attr("RTA_DST")
        if destination is not None:
            networks.append(IPv4Network(f"{destination}/{route['dst_len']}", strict=False))
    return networks


def _uplink_mtu(ipr: Any) -> int:
    """The MTU behind the default route. With a larger one inside, path MTU discovery decides whether anything gets through."""
    for route in ipr.get_default_routes(family=socket.AF_INET):
        index = route.get_attr("RTA_OIF")
        if index is not None:
            return int(ipr.get_links(index)[0].get_attr("IFLA_MTU"))
    return 1500


def _let_forward() -> None:
    """Let the host route between its interfaces, as Docker does too; who may use it is `nat.py`'s forward chain's to say."""
    switch = Path("/proc/sys/net/ipv4/ip_forward")
    if switch.read_text().strip() != "1":
        switch.write_text("1")
