"""Where the programs of all nodes meet: by which address and interface nodes reach each other, and a port that nobody uses."""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Iterator, Mapping
from ipaddress import ip_address

from launcher.cluster.slurm.own_job import own_job
from launcher.errors import LaunchError
from launcher.plan.program.environment import Rendezvous
from launcher.plan.slurm_program import run_slurm
from runtime.light_dataclasses import dataclass
from runtime.network.links import Interface, Links

_ANY_PORT = 9
_FIRST_PORT, _PORTS = 10_000, 20_000
"""Below those that kernels give to whoever asks for any (from 32768)."""

_TRIES = 200
_STRIDE = 7


@dataclass(frozen=True, slots=True)
class Route:
    """How others reach this machine."""

    address: str
    interface: str | None


def route_from(peer: str, *, interface: str | None) -> Route:
    """How this machine is reached from *peer* (a name or an address): by *interface*, else by the one that the
    kernel's route to it takes. Raises LaunchError."""
    if interface is not None:
        return Route(_address_of(interface), interface)
    address = _source_towards(peer)
    with Links() as links:
        names = {link.index: link.name for link in links.all()}
        interfaces = [names.get(index) for index, known in links.addresses() if str(known.ip) == address]
    return Route(address, interfaces[0] if interfaces else None)


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
        targets = socket.getaddrinfo(peer, _ANY_PORT, type=socket.SOCK_DGRAM)
    except socket.gaierror as error:
        raise LaunchError(f"the address of node `{peer}` is not known here: {error.strerror}") from error
    refusal: OSError | None = None
    for family, kind, protocol, _, target in targets:
        try:
            with socket.socket(family, kind | socket.SOCK_CLOEXEC, protocol) as probe:
                probe.connect(target)
                return str(ip_address(probe.getsockname()[0].partition("%")[0]))
        except OSError as error:
            refusal = error
    raise LaunchError(
        f"there is no route from `{socket.gethostname()}` to node `{peer}`: {refusal}", hint="`cluster.interface=NAME`"
    )


def arrange_rendezvous(nodes: int, *, attempt: int, interface: str | None) -> Rendezvous:
    """On the first node: where attempt *attempt* of the job that we are in meets. Raises LaunchError."""
    route = route_from(_second_node(os.environ), interface=interface)
    own = own_job()
    port = find_free_port(route.address, seed=int(own.job) * 31 + own.restarts * 5 + attempt)
    return Rendezvous(0, nodes, route.address, port, route.interface)


def find_free_port(address: str, *, seed: int) -> int:
    """A port of *address* that nobody uses now. Another *seed* begins its search elsewhere, so that jobs on one node do not meet;
    one that is taken all the same, or still in TIME_WAIT, is passed over."""
    for port in _candidates(seed):
        if _is_free(address, port):
            return port
    raise LaunchError(f"none of {_TRIES} ports of {address} is free for the nodes to meet at")


def _candidates(seed: int) -> Iterator[int]:
    for number in range(_TRIES):
        yield _FIRST_PORT + (seed + number * _STRIDE) % _PORTS


def _is_free(address: str, port: int) -> bool:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM | socket.SOCK_CLOEXEC) as probe:
        try:
            probe.bind((address, port))
        except OSError:
            return False
    return True


def _second_node(environ: Mapping[str, str]) -> str:
    """The address by which Slurm reaches the job's second node, which need not be its name."""
    name = run_slurm(["scontrol", "show", "hostnames", environ["SLURM_JOB_NODELIST"]]).split()[1]
    shown = re.search(r"\bNodeAddr=(\S+)", run_slurm(["scontrol", "show", "node", name, "--oneliner"]))
    return shown[1] if shown else name
