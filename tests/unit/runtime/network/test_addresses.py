"""Addresses for bridges and containers: which are taken, which are free, whose they are."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network, IPv6Address

import pytest

from runtime.errors import NetworkError
from runtime.network import addresses
from runtime.network.addresses import Member
from runtime.network.veth import host_end_name


def networks(*texts: str) -> list[IPv4Network]:
    return [IPv4Network(text) for text in texts]


def test_the_first_free_network_is_taken_and_the_default_route_is_no_obstacle():
    assert IPv4Network("10.217.0.0/22") == addresses.choose_subnet(networks("0.0.0.0/0", "10.0.0.0/24"))


def test_a_network_that_the_host_has_a_route_to_is_left_alone():
    """A company's VPN that routes 10.0.0.0/8 must go on working."""
    assert IPv4Network("172.27.0.0/22") == addresses.choose_subnet(networks("10.0.0.0/8"))


def test_networks_stand_beside_each_other():
    """A second bridge, or a route into a part of the pool: the rest of the pool is free still."""
    assert IPv4Network("10.217.4.0/22") == addresses.choose_subnet(networks("10.217.0.0/22"))
    assert IPv4Network("10.217.8.0/22") == addresses.choose_subnet(networks("10.217.0.9/32", "10.217.4.0/24"))


def test_no_free_network_is_an_error_with_a_way_out():
    with pytest.raises(NetworkError, match="no free private network") as caught:
        addresses.choose_subnet(networks("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16"))
    assert "network=host" in caught.value.hint


def test_containers_get_the_lowest_free_address_after_the_gateway():
    subnet = IPv4Network("192.168.217.0/29")
    taken = {IPv4Address("192.168.217.2"), IPv4Address("192.168.217.4")}
    assert IPv4Address("192.168.217.3") == addresses.free_address(subnet, taken)


def test_a_full_network_is_an_error():
    subnet = IPv4Network("192.168.217.0/30")
    with pytest.raises(NetworkError, match="all addresses"):
        addresses.free_address(subnet, {IPv4Address("192.168.217.2")})


def test_a_member_is_read_back_from_the_alias_of_its_link():
    member = Member("a1b2c3", (IPv4Address("10.217.3.9"), IPv6Address("fd00::9")), ("worker", "resnet-50"))
    assert member == addresses.member_in(addresses.alias_of(member))


def test_an_alias_is_no_longer_than_the_kernel_takes():
    member = Member("a1b2c3", (IPv4Address("10.217.3.9"),), tuple(f"name-{number}-{'x' * 40}" for number in range(9)))
    alias = addresses.alias_of(member)
    assert len(alias) < 256
    read = addresses.member_in(alias)
    assert read is not None
    assert member.names[:4] == read.names


@pytest.mark.parametrize(
    "alias", [None, "", "uplink", "launch a1b2c3 nonsense", "launch 10.0.0.1", "other a1 10.0.0.1", "launch network bridge"]
)
def test_other_aliases_are_of_no_member(alias):
    assert addresses.member_in(alias) is None


def test_everybody_of_a_name_is_found_by_it():
    one, other = Member("aaa", (IPv4Address("10.0.0.2"),), ("digits",)), Member("bbb", (IPv4Address("10.0.0.3"),), ("digits",))
    assert (IPv4Address("10.0.0.2"), IPv4Address("10.0.0.3")) == addresses.addresses_named([one, other], "Digits.")
    assert (IPv4Address("10.0.0.3"),) == addresses.addresses_named([one, other], "bbb")
    assert () == addresses.addresses_named([one, other], "aa")


@pytest.mark.parametrize(
    ("text", "name"), [("ResNet 50", "resnet-50"), ("trainer", "trainer"), ("ü", ""), ("-a-", "a"), ("x" * 99, "x" * 63)]
)
def test_a_runs_name_becomes_one_that_resolvers_take(text, name):
    assert name == addresses.host_name(text)


def test_each_bridge_has_an_ipv6_network_of_this_machines_own():
    first, second = (addresses.subnet6_of(IPv4Network(text), seed=b"x") for text in ("10.217.0.0/22", "10.217.4.0/22"))
    assert first != second
    assert first.network_address.packed[:6] == second.network_address.packed[:6]
    assert all(network.is_private and network.prefixlen == 64 for network in (first, second))
    assert first.network_address + 9 == addresses.address6_beside(IPv4Address("10.217.0.9"), IPv4Network("10.217.0.0/22"), first)


def test_interface_names_fit_the_kernel_and_differ():
    long_ids = [f"build-0123456789-{number}" for number in range(50)]
    names = {host_end_name(one) for one in [*long_ids, "a1b2c3"]}
    assert 51 == len(names)
    assert all(len(name) <= 15 and name.startswith("lc-") for name in names)
    assert "lc-a1b2c3" in names
