"""Whom a container asks for names: its /etc/resolv.conf, from the host's. Who answers on loopback is `name_service.py`."""

from __future__ import annotations

from pathlib import Path

from runtime.light_dataclasses import dataclass
from runtime.network.mode import NetworkMode

CONTAINER_SERVER = "127.0.0.11"
"""Where a container asks us, on its own loopback (Docker has the same address there)."""

PASTA_SERVER = "169.254.1.1"
"""Where a container asks pasta, which asks the host's server, also one on the host's loopback (podman has the same address)."""

_REAL_SERVERS = ("run/systemd/resolve/resolv.conf", "run/NetworkManager/no-stub-resolv.conf")
"""Behind a stub on loopback (systemd-resolved's 127.0.0.53, NetworkManager's dnsmasq): the servers that it asks."""


@dataclass(frozen=True, slots=True)
class ResolvConf:
    """How a container's names are looked up."""

    text: str
    """Its /etc/resolv.conf."""
    asks_proxy: bool = False
    """Whether it asks CONTAINER_SERVER, so that somebody must answer there."""


@dataclass(frozen=True, slots=True)
class _Lines:
    reachable: list[str]
    unreachable: list[str]
    rest: list[str]


def resolv_conf_for(mode: NetworkMode, *, named: bool = False, host_root: Path = Path("/")) -> ResolvConf:
    """How a container with *mode* looks names up. On a *named* network it asks us, since the members' names are known to us only.

    Otherwise a bridge takes over what the host asks, without servers on the host's loopback, which is not the container's. When
    there are no others, not behind a stub either, it asks us and we ask the host's.
    """
    if mode == "none":
        return ResolvConf("# this container has no network\n")
    host_text = _read_text(host_root / "etc/resolv.conf")
    if mode == "host":
        return ResolvConf(host_text)
    lines = _parse(host_text)
    if mode == "pasta":
        return ResolvConf(_join_lines([f"nameserver {PASTA_SERVER}", *lines.rest]))
    if named:
        # ndots:0: a name without a dot is tried as it is before the search list, and so a member before anybody else.
        return ResolvConf(_join_lines([f"nameserver {CONTAINER_SERVER}", *lines.rest, "options ndots:0"]), asks_proxy=True)
    if lines.unreachable and not lines.reachable:
        lines = next((found for found in _behind_stubs(host_root) if found.reachable), lines)
    if lines.reachable:
        return ResolvConf(_join_lines([*lines.reachable, *lines.rest]))
    if lines.unreachable:
        return ResolvConf(_join_lines([f"nameserver {CONTAINER_SERVER}", *lines.rest]), asks_proxy=True)
    return ResolvConf(_join_lines([*lines.rest, "# the host has no name server"]))


def host_servers(*, host_root: Path = Path("/")) -> list[str]:
    """The name servers of the host, as the host itself reaches them, in order."""
    lines = _parse(_read_text(host_root / "etc/resolv.conf"))
    return [line.split()[1] for line in (*lines.unreachable, *lines.reachable)]


def _behind_stubs(host_root: Path) -> list[_Lines]:
    return [_parse(_read_text(host_root / path)) for path in _REAL_SERVERS]


def _parse(text: str) -> _Lines:
    """Lines of a resolv.conf(5): name servers that work from another network namespace, those that don't, and the rest."""
    lines = _Lines([], [], [])
    for line in text.splitlines():
        words = line.split()
        if len(words) >= 2 and words[0] == "nameserver":
            (lines.reachable if _is_reachable(words[1]) else lines.unreachable).append(f"nameserver {words[1]}")
        elif words and words[0] in ("search", "options", "domain", "sortlist"):
            lines.rest.append(line.strip())
    return lines


def _is_reachable(server: str) -> bool:
    """IPv6 ones are left to our forwarder: whether the container has IPv6 is not known yet."""
    from ipaddress import ip_address

    address, _, zone = server.partition("%")
    try:
        parsed = ip_address(address)
    except ValueError:
        return False
    return not (parsed.is_loopback or parsed.is_unspecified or zone or parsed.version == 6)


def _join_lines(lines: list[str]) -> str:
    return "\n".join(lines) + "\n"


def _read_text(file: Path) -> str:
    try:
        return file.read_text(errors="replace")
    except OSError:
        # Missing, or not ours to read: then there is nothing to take over.
        return ""
