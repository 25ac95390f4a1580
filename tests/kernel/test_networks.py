"""Networks of containers on the real kernel: IPv6, named networks, subnets that came to clash, what killed processes left."""

from __future__ import annotations

import os
import select
import signal
import time
from ipaddress import ip_address
from pathlib import Path

import pytest

from runtime.host.report import check
from runtime.kernel import libc
from runtime.kernel.processes import NEWNET
from runtime.network import bridge, nat
from runtime.network.links import Links
from runtime.network.nftables import Nftables
from runtime.network.shared_networks import read_networks, remove_leftovers
from tests.kernel.forked import forked
from tests.kernel.host_bed import OUTSIDE, OUTSIDE6, UPLINK, UPLINK6, links, listening, namespace, outside, reaches, settles_to

pytestmark = pytest.mark.requires("root", "bridge")


def test_a_host_with_ipv6_gives_it_to_its_containers():
    def body() -> None:
        with outside(ipv6=True) as machine, namespace() as container, listening(machine) as server:
            made = bridge.connect(container, "a1b2c3")
            assert ip_address(str(made.address6)).is_private
            assert UPLINK6 == reaches(container, OUTSIDE6, server)
            assert UPLINK == reaches(container, OUTSIDE, server)
            bridge.disconnect("a1b2c3")

    forked(body, unshare=NEWNET)


def test_by_ipv6_too_nobody_outside_gets_in():
    def body() -> None:
        from pyroute2.iproute.linux import IPRoute

        with outside(ipv6=True) as machine, namespace() as container, listening(container) as server:
            made = bridge.connect(container, "a1b2c3")
            with IPRoute(netns=f"/proc/{machine}/ns/net", flags=0) as ipr:
                ipr.route("add", dst="fd00::/8", gateway=UPLINK6)
            assert reaches(machine, made.address6, server) is None
            bridge.disconnect("a1b2c3")

    forked(body, unshare=NEWNET)


def test_a_host_that_has_its_route_from_advertisements_keeps_it():
    """A router does not listen to them, and forgets what it heard: forwarding must not cost the host its network."""

    def body() -> None:
        with outside(ipv6=True), namespace() as container:
            listening_to = Path("/proc/sys/net/ipv6/conf/uplink/accept_ra")
            listening_to.write_text("1")
            bridge.connect(container, "a1b2c3")
            assert "1" == Path("/proc/sys/net/ipv6/conf/all/forwarding").read_text().strip()
            assert "2" == listening_to.read_text().strip()
            assert "0" == Path("/proc/sys/net/ipv6/conf/launch0/accept_ra").read_text().strip()
            bridge.disconnect("a1b2c3")

    forked(body, unshare=NEWNET)


def test_a_host_without_ipv6_stays_without():
    def body() -> None:
        with outside(), namespace() as container:
            assert bridge.connect(container, "a1b2c3").address6 is None
            assert "1" == Path("/proc/sys/net/ipv6/conf/launch0/disable_ipv6").read_text().strip()
            bridge.disconnect("a1b2c3")

    forked(body, unshare=NEWNET)


def test_members_of_a_named_network_reach_each_other_and_nobody_else_reaches_them():
    def body() -> None:
        with namespace() as one, namespace() as other, namespace() as third, namespace() as fourth:
            for pid, name, network in ((one, "one", "team"), (third, "third", None), (fourth, "fourth", "rivals")):
                bridge.connect(pid, name, network=network)
            address = bridge.connect(other, "other", network="team").address
            with listening(other) as server:
                assert reaches(one, address, server) is not None
                assert reaches(third, address, server) is None
                assert reaches(fourth, address, server) is None
            for name in ("one", "other", "third", "fourth"):
                bridge.disconnect(name)
            assert ["lo"] == links()

    forked(body, unshare=NEWNET)


def test_a_named_network_ends_with_its_last_member():
    def body() -> None:
        with namespace() as one, namespace() as other:
            bridge.connect(one, "one", network="team")
            bridge.connect(other, "other", network="team")
            bridge.disconnect("one")
            assert ["lc-other", "ln-team", "lo"] == links()
            bridge.disconnect("other")
            assert ["lo"] == links()
            with Nftables() as nft:
                assert set() == nft.tables()

    forked(body, unshare=NEWNET)


def test_a_long_name_is_a_networks_too():
    def body() -> None:
        long = "a-name-that-is-longer-than-a-link"
        with namespace() as one, namespace() as other:
            first = bridge.connect(one, "one", network=long)
            assert first.bridge == bridge.connect(other, "other", network=long).bridge
            assert len(first.bridge) <= 15
            for name in ("one", "other"):
                bridge.disconnect(name)

    forked(body, unshare=NEWNET)


def test_a_subnet_that_came_to_clash_is_given_up_when_nobody_uses_it():
    """A VPN comes up that routes what a bridge has: the bridge was left by a process that was killed."""

    def body() -> None:
        from pyroute2.iproute.linux import IPRoute

        with outside(), namespace() as first, namespace() as second:
            bridge.connect(first, "first")
            with Links() as host:
                host.remove(host.find("lc-first").index)
            with IPRoute() as ipr:
                ipr.route("add", dst="10.217.0.0/16", gateway=OUTSIDE)
            made = bridge.connect(second, "second")
            assert ("launch0", "172.27.0.1") == (made.bridge, str(made.gateway))
            bridge.disconnect("second")

    forked(body, unshare=NEWNET)


def test_a_subnet_that_came_to_clash_is_left_to_those_who_use_it():
    def body() -> None:
        from pyroute2.iproute.linux import IPRoute

        with outside() as machine, namespace() as first, namespace() as second, listening(machine) as server:
            bridge.connect(first, "first")
            with IPRoute() as ipr:
                ipr.route("add", dst="10.217.0.0/16", gateway=OUTSIDE)
            made = bridge.connect(second, "second")
            assert ("launch1", "172.27.0.1") == (made.bridge, str(made.gateway))
            assert UPLINK == reaches(first, OUTSIDE, server) == reaches(second, OUTSIDE, server)
            for name in ("first", "second"):
                bridge.disconnect(name)
            assert ["lo", "uplink"] == links()

    forked(body, unshare=NEWNET)


def test_an_address_of_the_host_is_not_taken_either():
    """Without a route to it (a /32 on loopback, a bridge that is down)."""

    def body() -> None:
        from pyroute2.iproute.linux import IPRoute

        with outside(), namespace() as container:
            with IPRoute() as ipr:
                ipr.addr("add", index=1, address="10.217.0.77", prefixlen=32)
            assert "10.217.4.1" == str(bridge.connect(container, "a1b2c3").gateway)
            bridge.disconnect("a1b2c3")

    forked(body, unshare=NEWNET)


def test_rules_that_somebody_flushed_are_made_anew():
    """`nft flush ruleset`, a firewall that is started anew: the next container puts things right for all."""

    def body() -> None:
        with outside() as machine, namespace() as first, namespace() as second, listening(machine) as server:
            bridge.connect(first, "first")
            with Nftables() as nft:
                nft.delete_table("launch0")
            assert reaches(first, OUTSIDE, server) != UPLINK
            bridge.connect(second, "second")
            assert UPLINK == reaches(first, OUTSIDE, server)
            for name in ("first", "second"):
                bridge.disconnect(name)

    forked(body, unshare=NEWNET)


def test_what_a_killed_process_left_is_removed_by_the_next_who_looks():
    def body() -> None:
        with namespace() as container:
            maker = os.fork()
            if maker == 0:
                bridge.connect(container, "a1b2c3", network="team")
                os.kill(os.getpid(), signal.SIGKILL)
            os.waitpid(maker, 0)
            remove_leftovers()
            assert ["lc-a1b2c3", "ln-team", "lo"] == links(), "the container lives"
        assert settles_to(["ln-team", "lo"])
        assert "`team` on `ln-team` (10.217.0.1/22): no runs" == check("networks").detail
        remove_leftovers()
        assert ["lo"] == links()
        assert check("networks").ok
        with Nftables() as nft:
            assert set() == nft.tables()

    forked(body, unshare=NEWNET)


def test_networks_are_listed_with_their_members():
    def body() -> None:
        assert () == read_networks()
        with namespace() as one, namespace() as other:
            bridge.connect(one, "a1b2c3", network="team", names=("launch-a1b2c3", "trainer"))
            bridge.connect(other, "d4e5f6")
            shared, team = read_networks()
            assert ("bridge", "launch0", 1) == (shared.name, shared.bridge, shared.ports)
            assert ("team", "ln-team", ("10.217.0.1/22",)) == (team.name, team.bridge, team.subnets)
            assert [("a1b2c3", ("launch-a1b2c3", "trainer"))] == [(one.container_id, one.names) for one in team.members]
            for name in ("a1b2c3", "d4e5f6"):
                bridge.disconnect(name)

    forked(body, unshare=NEWNET)


def test_a_late_farewell_does_not_take_the_link_of_the_next_attempt():
    """Both attempts of a run have its id, and links are given back by a process of its own."""

    def body() -> None:
        with namespace() as second:
            with namespace() as first:
                bridge.connect(first, "a1b2c3")
            bridge.disconnect_soon("a1b2c3")
            bridge.connect(second, "a1b2c3")
            time.sleep(1)
            assert ["launch0", "lc-a1b2c3", "lo"] == links()
            bridge.disconnect_soon("a1b2c3")
        assert settles_to(["lo"])

    forked(body, unshare=NEWNET)


def test_a_table_that_is_half_there_is_completed():
    def body() -> None:
        with Nftables() as nft:
            nft.replace_table("launch0", {})
        with namespace() as container:
            bridge.connect(container, "a1b2c3")
            with Nftables() as nft:
                assert 2 == len(nft.rules(1, "launch0"))
            nat.remove_nat("launch0")
            nat.remove_nat("launch0")  # idempotent
            bridge.disconnect("a1b2c3")

    forked(body, unshare=NEWNET)


def _come_and_go(number: int, host: int, answers: int, all_there: int) -> int:
    """A process whose own namespace is connected, says its address, and goes when *all_there* says so. Its number."""
    child = os.fork()
    if child != 0:
        return child
    status = 1
    try:
        libc.unshare(NEWNET)
        inside = os.getpid()
        connector = os.fork()
        if connector == 0:
            libc.setns(host, NEWNET)
            made = bridge.connect(inside, f"m{number}", network="team" if number % 3 == 0 else None)
            os.write(answers, f"{made.bridge}-{made.address}\n".encode())
            os._exit(0)
        status = os.waitstatus_to_exitcode(os.waitpid(connector, 0)[1])
        os.read(all_there, 1)
        libc.setns(host, NEWNET)
        bridge.disconnect_soon(f"m{number}")
    finally:
        os._exit(status)


def test_a_hundred_containers_come_and_go_at_once():
    """Each with an address of its own, and nothing is left: no link, no rule, no bridge."""

    def body() -> None:
        host = os.open("/proc/self/ns/net", os.O_RDONLY)
        (reader, answers), (all_there, go) = os.pipe(), os.pipe()
        children = [_come_and_go(number, host, answers, all_there) for number in range(100)]
        said = b""
        while said.count(b"\n") < 100 and select.select([reader], [], [], 60)[0]:
            said += os.read(reader, 1 << 16)
        assert 100 == len(set(said.split()))
        os.write(go, b"x" * 100)
        assert [0] * 100 == [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
        assert settles_to(["lo"], within_s=20)
        with Nftables() as nft:
            assert set() == nft.tables()
        assert sum(os.times()[:4]) < 15  # seconds of processor time: a busy machine does not count

    forked(body, unshare=NEWNET)
