"""/etc/resolv.conf of a container, from what the host has."""

from __future__ import annotations

from runtime.network.name_servers import CONTAINER_SERVER, PASTA_SERVER, host_servers, resolv_conf_for


def resolv(tmp_path, mode, text, resolved=None, *, behind="run/systemd/resolve/resolv.conf", named=False):
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/resolv.conf").write_text(text)
    if resolved is not None:
        (tmp_path / behind).parent.mkdir(parents=True)
        (tmp_path / behind).write_text(resolved)
    found = resolv_conf_for(mode, named=named, host_root=tmp_path)
    return found.text.splitlines(), found.asks_proxy


def test_a_container_without_network_asks_nobody(tmp_path):
    assert (["# this container has no network"], False) == resolv(tmp_path, "none", "nameserver 192.0.2.1\n")


def test_with_the_hosts_network_the_hosts_file_is_right(tmp_path):
    text = "nameserver 127.0.0.53\noptions edns0\n"
    assert (["nameserver 127.0.0.53", "options edns0"], False) == resolv(tmp_path, "host", text)


def test_on_the_bridge_the_hosts_servers_are_asked(tmp_path):
    text = "# made by hand\nsearch lab.example\nnameserver 192.0.2.1\nnameserver 127.0.0.1\n"
    assert (["nameserver 192.0.2.1", "search lab.example"], False) == resolv(tmp_path, "bridge", text)


def test_behind_systemd_resolved_the_real_servers_are_asked(tmp_path):
    """The stub at 127.0.0.53 listens on the host's loopback, which is not the container's."""
    found = resolv(tmp_path, "bridge", "nameserver 127.0.0.53\noptions edns0\n", "nameserver 192.0.2.7\nsearch lab.example\n")
    assert (["nameserver 192.0.2.7", "search lab.example"], False) == found


def test_behind_network_manager_the_real_servers_are_asked(tmp_path):
    behind = "run/NetworkManager/no-stub-resolv.conf"
    assert (["nameserver 192.0.2.7"], False) == resolv(
        tmp_path, "bridge", "nameserver 127.0.0.1\n", "nameserver 192.0.2.7\n", behind=behind
    )


def test_a_server_that_only_the_host_reaches_is_asked_through_us(tmp_path):
    text = "nameserver 127.0.0.1\nnameserver fe80::1%eth0\nsearch lab.example\n"
    assert ([f"nameserver {CONTAINER_SERVER}", "search lab.example"], True) == resolv(tmp_path, "bridge", text)
    assert ["127.0.0.1", "fe80::1%eth0"] == host_servers(host_root=tmp_path)


def test_on_a_named_network_we_are_asked_for_the_members_first(tmp_path):
    text = "nameserver 192.0.2.1\nsearch lab.example\noptions ndots:2\n"
    found = [f"nameserver {CONTAINER_SERVER}", "search lab.example", "options ndots:2", "options ndots:0"]
    assert (found, True) == resolv(tmp_path, "bridge", text, named=True)


def test_with_pasta_pasta_is_asked(tmp_path):
    assert ([f"nameserver {PASTA_SERVER}"], False) == resolv(tmp_path, "pasta", "nameserver 127.0.0.53\n")


def test_a_host_without_the_file_has_no_servers(tmp_path):
    assert (["# the host has no name server"], False) == (
        resolv_conf_for("bridge", host_root=tmp_path).text.splitlines(),
        resolv_conf_for("bridge", host_root=tmp_path).asks_proxy,
    )
