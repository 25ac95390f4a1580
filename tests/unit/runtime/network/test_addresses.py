"""Addresses for bridges and containers: which are taken, which are free, who can be asked for names."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network

import pytest

from runtime.errors import NetworkError
from runtime.network import addresses
from runtime.network.veth import host_end_name


def networks(*texts: str) -> list[IPv4Network]:
    return [IPv4Network(text) for text in texts]


def test_the_first_free_network_is_taken_and_the_default_route_is_no_obstacle():
    assert addresses.SUBNETS[0] == addresses.choose_subnet(networks("0.0.0.0/0", "10.0.0.0/24"))


def test_a_network_that_the_host_has_a_route_to_is_left_alone():
    """A company's VPN that routes 10.0.0.0/8 must go on working."""
    assert IPv4Network("172.27.0.0/16") == addresses.choose_subnet(networks("10.0.0.0/8"))


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


def test_an_address_is_read_back_from_the_alias_of_its_link():
    address = IPv4Address("10.217.3.9")
    assert address == addresses.address_in(addresses.alias_of("a1b2c3", address))


@pytest.mark.parametrize("alias", [None, "", "uplink", "launch a1b2c3 nonsense", "launch 10.0.0.1", "other a1 10.0.0.1"])
def test_other_aliases_hold_no_address(alias):
    assert addresses.address_in(alias) is None


def test_interface_names_fit_the_kernel_and_differ():
    long_ids = [f"build-0123456789-{number}" for number in range(50)]
    names = {host_end_name(one) for one in [*long_ids, "a1b2c3"]}
    assert 51 == len(names)
    assert all(len(name) <= 15 and name.startswith("lc-") for name in names)
    assert "lc-a1b2c3" in names


def resolv(tmp_path, mode, text, resolved=None):
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/resolv.conf").write_text(text)
    if resolved is not None:
        (tmp_path / "run/systemd/resolve").mkdir(parents=True)
        (tmp_path / "run/systemd/resolve/resolv.conf").write_text(resolved)
    return addresses.resolv_conf(mode, host_root=tmp_path).splitlines()


def test_a_container_without_network_asks_nobody(tmp_path):
    assert ["# this container has no network"] == resolv(tmp_path, "none", "nameserver 192.0.2.1\n")


def test_with_the_hosts_network_the_hosts_file_is_right(tmp_path):
    assert ["nameserver 127.0.0.53", "options edns0"] == resolv(tmp_path, "host", "nameserver 127.0.0.53\noptions edns0\n")


def test_on_the_bridge_the_hosts_servers_are_asked(tmp_path):
    text = "# made by hand\nsearch lab.example\nnameserver 192.0.2.1\nnameserver 127.0.0.1\n"
    assert ["search lab.example", "nameserver 192.0.2.1"] == resolv(tmp_path, "bridge", text)


def test_behind_systemd_resolved_the_real_servers_are_asked(tmp_path):
    """The stub at 127.0.0.53 listens on the host's loopback, which is not the container's."""
    found = resolv(tmp_path, "bridge", "nameserver 127.0.0.53\noptions edns0\n", "nameserver 192.0.2.7\nsearch lab.example\n")
    assert ["nameserver 192.0.2.7", "search lab.example"] == found


def test_servers_that_cannot_be_reached_are_named(tmp_path):
    found = resolv(tmp_path, "bridge", "nameserver 127.0.0.1\nnameserver fe80::1%eth0\n")
    assert ["# the host's name servers cannot be reached from here: nameserver 127.0.0.1, nameserver fe80::1%eth0"] == found


def test_a_host_without_the_file_has_no_servers(tmp_path):
    assert ["# the host's name servers cannot be reached from here: it has none"] == addresses.resolv_conf(
        "bridge", host_root=tmp_path
    ).splitlines()
