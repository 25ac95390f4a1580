"""Networks of a container: namespaces, a bridge for root, pasta for everyone else, and those that runs share now."""

from __future__ import annotations

from runtime.errors import NetworkError
from runtime.host.finding import Finding, Remedy, good, off, try_out
from runtime.host.machine import Machine
from runtime.kernel import id_maps, libc, namespaces, processes
from runtime.network import bridge, pasta
from runtime.network.shared_networks import SharedNetwork, read_networks

_MODULES = ("bridge", "veth", "nf_tables", "nft_masq", "nft_chain_nat")


def network_namespaces(machine: Machine) -> Finding:
    def work() -> str:
        if machine.uid != 0:
            maps = id_maps.choose()
            namespaces.enter_user_namespace(namespaces.make_user_namespace(maps), maps)
        libc.unshare(processes.NEWNET)
        return "`network: none` and `network: host` work"

    return try_out(work)


def bridges(machine: Machine) -> Finding:
    def work() -> str:
        if machine.uid == 0:
            libc.unshare(processes.NEWNET)
        bridge.try_out()
        if "filter" in machine.text("/proc/net/ip_tables_names").split():
            return "works; rules of iptables-legacy are in force and may drop its packets (`iptables-legacy -L FORWARD`)"
        return "`network: bridge` works (bridge, veth, nftables)"

    return try_out(work, lambda: without_bridges(machine))


def without_bridges(machine: Machine) -> Remedy:
    """Modules are loaded when they are asked for, unless the machine forbids it; an ordinary user gets no bridge from them."""
    return Remedy(command=machine.loading(*_MODULES)) if machine.uid == 0 else Remedy()


def shared_networks(_machine: Machine) -> Finding:
    """Which networks runs share now, and whether one is left of a killed process."""
    try:
        found = read_networks()
    except (OSError, NetworkError) as error:
        return off(f"networks can't be listed: {error}")
    if not found:
        return good("no run is on a bridge now")
    words = "; ".join(map(_network_words, found))
    if all(network.ports for network in found):
        return good(words)
    return off(words, advice="what a killed process left is removed by `launch runs` as root")


def _network_words(network: SharedNetwork) -> str:
    """`ddp` on `ln-ddp` (10.217.0.1/22): 7f3a9c `trainer` `ddp`, 8c2b11 `ddp`."""
    members = [" ".join([one.container_id, *(f"`{name}`" for name in one.names[1:])]) for one in network.members]
    return f"`{network.name}` on `{network.bridge}` ({', '.join(network.subnets)}): {', '.join(members) or 'no runs'}"


def user_mode(machine: Machine) -> Finding:
    """A network of a run's own for ordinary users."""
    return try_out(lambda: f"`network: pasta` works (`{pasta.program()}`)", lambda: without_pasta(machine))


def without_pasta(machine: Machine) -> Remedy:
    """`pasta` needs its program and the tun device; where both are missing the program comes first."""
    if machine.program("pasta") is None:
        return Remedy(
            "the program `pasta` comes in the package `passt`; `network=host` needs nothing", machine.installing("passt")
        )
    if not machine.has("/dev/net/tun"):
        return Remedy("`network=host` needs nothing", machine.loading("tun"))
    return Remedy("opening /dev/net/tun gives no rights by itself", machine.as_root("chmod 0666 /dev/net/tun"))
