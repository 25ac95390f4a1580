"""The pair of virtual Ethernet ends that joins a container to the bridge. Both die with the container's network namespace."""

from __future__ import annotations

import errno
import hashlib
import os
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path
from typing import Any

INSIDE = "eth0"
"""What the container's end is called inside."""

HOST_END_PREFIX = "lc-"

_LONGEST_NAME = 15  # IFNAMSIZ is 16 with the final zero


def host_end_name(container_id: str) -> str:
    """`lc-<id>`, or a hash where an id is too long for an interface's name: found again from the id alone."""
    name = f"{HOST_END_PREFIX}{container_id}"
    if len(name) > _LONGEST_NAME:
        digest = hashlib.sha256(container_id.encode()).hexdigest()
        name = f"{HOST_END_PREFIX}{digest}"[:_LONGEST_NAME]
    return name


def make_pair(ipr: Any, *, name: str, alias: str, netns_fd: int, bridge_index: int, mtu: int) -> int:
    """Make both ends where they belong, the host's as an isolated port of the bridge. Returns the host end's index.

    Isolated: containers reach the host and what is behind it, not each other.
    """
    peer = {"ifname": INSIDE, "net_ns_fd": netns_fd, "mtu": mtu}
    ipr.link("add", ifname=name, kind="veth", peer=peer, mtu=mtu)
    index: int = ipr.link_lookup(ifname=name)[0]
    # Without this the host's end gets an IPv6 address and neighbour table of its own; it is a port, not an interface.
    _turn_off_ipv6(name)
    ipr.link("set", index=index, ifalias=alias, master=bridge_index)
    ipr.brport("set", index=index, isolated=1)
    ipr.link("set", index=index, state="up")
    return index


def configure_inside(netns: Path, *, address: IPv4Address, subnet: IPv4Network, gateway: IPv4Address) -> None:
    """Bring `lo` and `eth0` up in *netns*, with the address and the default route."""
    from pyroute2.iproute.linux import IPRoute

    with IPRoute(netns=str(netns), flags=0) as inside:
        for name in ("lo", INSIDE):
            index = inside.link_lookup(ifname=name)[0]
            if name == INSIDE:
                inside.addr("add", index=index, address=str(address), prefixlen=subnet.prefixlen)
            inside.link("set", index=index, state="up")
        inside.route("add", dst="default", gateway=str(gateway))


def remove_host_end(ipr: Any, container_id: str) -> None:
    """Remove the pair, if it is still there. Idempotent."""
    from pyroute2.netlink.exceptions import NetlinkError

    for index in ipr.link_lookup(ifname=host_end_name(container_id)):
        try:
            ipr.link("del", index=index)
        except NetlinkError as error:
            # ENODEV: the container's namespace ended meanwhile, and the kernel took its end and ours along.
            if error.code != errno.ENODEV:
                raise


def _turn_off_ipv6(name: str) -> None:
    switch = f"/proc/sys/net/ipv6/conf/{name}/disable_ipv6"
    if os.path.exists(switch):
        Path(switch).write_text("1")
