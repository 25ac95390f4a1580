"""IPv4 addresses of the bridge and its containers, and the name servers that a container asks. Data only; no netlink here.

Who has which address is written nowhere but on the links themselves (`alias_of`): it is freed by what frees the link, so no
record can outlive its container.
"""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import IPv4Address, IPv4Network, ip_address
from pathlib import Path

from runtime.errors import NetworkError
from runtime.network.mode import NetworkMode

SUBNETS = tuple(IPv4Network(text) for text in ("10.217.0.0/16", "172.27.0.0/16", "10.93.0.0/16", "192.168.217.0/24"))
"""Private networks (RFC 1918) to choose from: the first that overlaps nothing that this host has a route to."""

_ALIAS_WORD = "launch"


def choose_subnet(routed: Iterable[IPv4Network]) -> IPv4Network:
    """The first of SUBNETS that is free. The default route overlaps everything and does not count."""
    taken = [network for network in routed if network.prefixlen > 0]
    for subnet in SUBNETS:
        if not any(subnet.overlaps(network) for network in taken):
            return subnet
    raise NetworkError(
        f"no free private network for containers: this host has routes into each of {', '.join(map(str, SUBNETS))}",
        hint="`network=host` shares the host's network and needs no addresses",
    )


def gateway_of(subnet: IPv4Network) -> IPv4Address:
    """The bridge's own address: the first of the subnet."""
    return subnet.network_address + 1


def free_address(subnet: IPv4Network, taken: Iterable[IPv4Address]) -> IPv4Address:
    """The lowest address that no container has."""
    used = set(taken) | {gateway_of(subnet)}
    for address in subnet.hosts():
        if address not in used:
            return address
    raise NetworkError(f"all addresses of {subnet} are in use by containers")


def alias_of(container_id: str, address: IPv4Address) -> str:
    """The alias (`ip link` shows it) of the host's end of a container's link."""
    return f"{_ALIAS_WORD} {container_id} {address}"


def address_in(alias: str | None) -> IPv4Address | None:
    """The address that `alias_of` wrote; None for anybody else's link."""
    words = (alias or "").split(" ")
    if len(words) != 3 or words[0] != _ALIAS_WORD:
        return None
    try:
        return IPv4Address(words[2])
    except ValueError:
        return None


def _reachable_name_servers(text: str) -> tuple[list[str], list[str]]:
    """Lines of a resolv.conf: those that work from another network namespace, and the name servers that don't."""
    kept: list[str] = []
    local: list[str] = []
    for line in text.splitlines():
        words = line.split()
        if len(words) >= 2 and words[0] == "nameserver":
            address, _, zone = words[1].partition("%")
            try:
                is_local = ip_address(address).is_loopback or bool(zone) or ip_address(address).version == 6
            except ValueError:
                is_local = True
            (local if is_local else kept).append(line.strip())
        elif words and words[0] in ("search", "options", "domain", "sortlist"):
            kept.append(line.strip())
    return kept, local


def resolv_conf(mode: NetworkMode, *, host_root: Path = Path("/")) -> str:
    """The text of a container's /etc/resolv.conf.

    `bridge` takes over what the host asks, without servers on the host's loopback, which is not the container's. Behind
    systemd-resolved's stub the real servers are in a second file. The bridge has IPv4 only.
    """
    if mode == "none":
        return "# this container has no network\n"
    host_text = _text(host_root / "etc/resolv.conf")
    if mode == "host":
        return host_text
    kept, local = _reachable_name_servers(host_text)
    if local and not any(line.startswith("nameserver") for line in kept):
        kept, local = _reachable_name_servers(_text(host_root / "run/systemd/resolve/resolv.conf") or host_text)
    if not any(line.startswith("nameserver") for line in kept):
        kept.append(f"# the host's name servers cannot be reached from here: {', '.join(local) or 'it has none'}")
    return "\n".join(kept) + "\n"


def _text(file: Path) -> str:
    try:
        return file.read_text(errors="replace")
    except FileNotFoundError:
        return ""
