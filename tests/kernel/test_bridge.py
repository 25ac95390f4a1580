"""`network: bridge` on the real kernel. The "host" is a network namespace of the test's own: no address outside is ever reached.

outside 198.51.100.2 ── 198.51.100.1 host ── launch0 ── containers
"""

from __future__ import annotations

import os
from contextlib import closing
from typing import Any

import pytest

from runtime.errors import NetworkError, RuntimeFailure
from runtime.kernel.processes import NEWNET
from runtime.network import bridge
from runtime.network.addresses import member_in
from runtime.network.links import Links
from runtime.network.name_servers import resolv_conf_for
from runtime.network.nftables import IPV4, Nftables
from tests.kernel.forked import forked
from tests.kernel.host_bed import OUTSIDE, UPLINK, links, listening, namespace, outside, reaches, settles_to
from tests.kernel.userland import inside

pytestmark = pytest.mark.requires("root", "bridge")


def test_a_container_reaches_the_host_at_the_gateway():
    def body() -> None:
        with namespace() as container, listening() as server:
            link = bridge.connect(container, "a1b2c3")
            assert str(link.address) == reaches(container, link.gateway, server)
            bridge.disconnect("a1b2c3")

    forked(body, unshare=NEWNET)


def test_a_container_gets_out_with_the_hosts_address():
    def body() -> None:
        with outside() as machine, namespace() as container, listening(machine) as server:
            bridge.connect(container, "a1b2c3")
            assert UPLINK == reaches(container, OUTSIDE, server)
            bridge.disconnect("a1b2c3")

    forked(body, unshare=NEWNET)


def test_containers_do_not_reach_each_other():
    def body() -> None:
        with namespace() as one, namespace() as other, listening(other) as server:
            bridge.connect(one, "one")
            address = bridge.connect(other, "other").address
            assert reaches(one, address, server) is None
            for name in ("one", "other"):
                bridge.disconnect(name)

    forked(body, unshare=NEWNET)


def test_nobody_outside_gets_in():
    """…even one that knows the way: the route is on the machine outside, forwarding is on."""

    def body() -> None:
        from pyroute2.iproute.linux import IPRoute

        with outside() as machine, namespace() as container, listening(container) as server:
            link = bridge.connect(container, "a1b2c3")
            with IPRoute(netns=f"/proc/{machine}/ns/net", flags=0) as ipr:
                ipr.route("add", dst="10.217.0.0/16", gateway=UPLINK)
            assert reaches(machine, link.address, server) is None
            bridge.disconnect("a1b2c3")

    forked(body, unshare=NEWNET)


def test_a_firewall_that_drops_forwarded_packets_is_opened_and_left_as_it_was():
    """Docker sets `iptables -P FORWARD DROP`; where that is nftables underneath, its chain is `ip filter FORWARD`."""

    def body() -> None:
        from pyroute2.nftables.main import NFTables

        with closing(NFTables(nfgen_family=IPV4)) as docker, Nftables() as nft:
            docker.table("add", name="filter")
            docker.chain("add", table="filter", name="FORWARD", type="filter", hook="forward", policy=0)
            with outside() as machine, namespace() as container, listening(machine) as server:
                bridge.connect(container, "a1b2c3")
                assert 2 == len(nft.rules(IPV4, "filter", "FORWARD"))
                assert UPLINK == reaches(container, OUTSIDE, server)
                bridge.disconnect("a1b2c3")
            assert [] == nft.rules(IPV4, "filter", "FORWARD")

    forked(body, unshare=NEWNET)


def test_the_last_container_takes_bridge_and_table_along():
    def body() -> None:
        with namespace() as one, namespace() as other:
            bridge.connect(one, "one")
            bridge.connect(other, "other")
            bridge.disconnect("one")
            assert ["launch0", "lc-other", "lo"] == links()
            bridge.disconnect("other")
            assert ["lo"] == links()
            with Nftables() as nft:
                assert set() == nft.tables()
            bridge.disconnect("other")  # idempotent

    forked(body, unshare=NEWNET)


def test_the_address_of_a_killed_container_is_free_again():
    """No record says who has which address, so none can be wrong after `kill -9`."""

    def body() -> None:
        with namespace() as keeps_the_bridge:
            bridge.connect(keeps_the_bridge, "first")
            with namespace() as killed:
                address = bridge.connect(killed, "second").address
            bridge.disconnect("second")
            with namespace() as third:
                assert address == bridge.connect(third, "third").address
                bridge.disconnect("third")
            bridge.disconnect("first")

    forked(body, unshare=NEWNET)


def test_the_same_container_can_be_connected_anew():
    """A second attempt of a run has the same id; its first link may still be there."""

    def body() -> None:
        with namespace() as first, namespace() as second, listening() as server:
            bridge.connect(first, "a1b2c3")
            link = bridge.connect(second, "a1b2c3")
            assert str(link.address) == reaches(second, link.gateway, server)
            bridge.disconnect("a1b2c3")
            assert ["lo"] == links()

    forked(body, unshare=NEWNET)


def test_a_container_that_is_gone_leaves_nothing():
    def body() -> None:
        with pytest.raises(RuntimeFailure, match="connecting container `a1b2c3` to the bridge failed"):
            bridge.connect(2**22 + 1, "a1b2c3")
        assert ["lo"] == links()

    forked(body, unshare=NEWNET)


def test_packets_are_no_larger_than_the_uplink_takes():
    def body() -> None:
        from pyroute2.iproute.linux import IPRoute

        with outside(mtu=1400), namespace() as container:
            bridge.connect(container, "a1b2c3")
            with IPRoute(netns=f"/proc/{container}/ns/net", flags=0) as ipr:
                assert 1400 == ipr.get_links(ifname="eth0")[0].get_attr("IFLA_MTU")
            bridge.disconnect("a1b2c3")

    forked(body, unshare=NEWNET)


def test_a_network_that_the_host_routes_elsewhere_is_not_taken():
    def body() -> None:
        from pyroute2.iproute.linux import IPRoute

        with outside(), namespace() as container:
            with IPRoute() as ipr:
                ipr.route("add", dst="10.0.0.0/8", gateway=OUTSIDE)
            assert "172.27.0.1" == str(bridge.connect(container, "a1b2c3").gateway)
            bridge.disconnect("a1b2c3")

    forked(body, unshare=NEWNET)


def test_many_containers_connect_at_once_with_addresses_of_their_own():
    def body() -> None:
        namespaces = [namespace() for _ in range(6)]
        pids = [one.__enter__() for one in namespaces]
        children = []
        for number, pid in enumerate(pids):
            child = os.fork()
            if child == 0:
                try:
                    bridge.connect(pid, f"c{number}")
                except NetworkError:
                    os._exit(1)
                os._exit(0)
            children.append(child)
        assert [0] * 6 == [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
        with Links() as host:
            members = [member for link in host.all() if (member := member_in(link.alias)) is not None]
        assert 6 == len({member.addresses for member in members})
        for number, one in enumerate(namespaces):
            one.__exit__(None, None, None)
            bridge.disconnect(f"c{number}")
        assert ["lo"] == links()

    forked(body, unshare=NEWNET)


def test_an_ordinary_user_is_told_what_works_instead(monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(RuntimeFailure, match="`network: bridge` needs root") as caught:
        bridge.connect(os.getpid(), "a1b2c3")
    assert "network=host" in caught.value.hint


@pytest.mark.requires("overlayfs", "userns", "proc")
def test_a_program_in_a_container_reaches_host_and_outside(tmp_path):
    """All of it together: the container's own interface, its route, its name servers, and nothing left at the end."""
    code = """
import socket
route = [line.split() for line in open("/proc/net/route").read().splitlines()[1:]]
gateway = socket.inet_ntoa(bytes.fromhex(next(r[2] for r in route if r[1] == "00000000"))[::-1])
answer = [sorted(os.listdir("/sys/class/net")), gateway]
for address, port in ((gateway, HOST_PORT), ("198.51.100.2", OUTSIDE_PORT)):
    with socket.create_connection((address, port), timeout=5) as connection:
        answer.append(connection.getsockname()[0])
answer.append(open("/etc/resolv.conf").read())
"""

    def body() -> Any:
        with outside() as machine, listening() as host, listening(machine) as server:
            ports = {"HOST_PORT": host.getsockname()[1], "OUTSIDE_PORT": server.getsockname()[1]}
            script = code
            for word, port in ports.items():
                script = script.replace(word, str(port))
            answer = inside(tmp_path, script, network="bridge", container_id="a1b2c3")
            answer.append(str(server.accept()[1][0]).removeprefix("::ffff:"))
            assert settles_to(["lo", "uplink"])
            return answer

    interfaces, gateway, seen_by_host, _, resolv_conf, seen_outside = forked(body, unshare=NEWNET)
    assert (["eth0", "lo"], "10.217.0.1", "10.217.0.2", UPLINK) == (interfaces, gateway, seen_by_host, seen_outside)
    assert resolv_conf == resolv_conf_for("bridge").text
