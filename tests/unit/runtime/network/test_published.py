"""Published ports: what may be written, and what is said of a port that can't be had."""

from __future__ import annotations

import socket

import pytest

from runtime.errors import NetworkError
from runtime.network.published import PublishedPort, bind, parse


@pytest.mark.parametrize(
    ("text", "port"),
    [
        ("8080:80", PublishedPort(80, 8080)),
        ("80", PublishedPort(80)),
        ("0:80", PublishedPort(80)),
        ("127.0.0.1:6006:6006", PublishedPort(6006, 6006, "127.0.0.1")),
        ("127.0.0.1::6006", PublishedPort(6006, None, "127.0.0.1")),
        ("[::1]:8080:80", PublishedPort(80, 8080, "::1")),
        ("8080:80/tcp", PublishedPort(80, 8080)),
        ("5353:53/udp", PublishedPort(53, 5353, None, "udp")),
        ("[::1]::53/udp", PublishedPort(53, None, "::1", "udp")),
    ],
)
def test_ports_are_written_as_docker_has_them(text, port):
    assert port == parse(text)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "is not a port"),
        ("http", "`http` is not a port"),
        ("80:", "is not a port"),
        ("8080:0", "`0` is not a port"),
        ("70000:80", "`70000` is not a port"),
        ("8080:80/sctp", "only TCP and UDP ports can be published, not `sctp`"),
        ("8080:80/", "not ``"),
        ("8000-8010:80", "ranges"),
        ("myhost:8080:80", "`myhost` is not an address"),
        ("[::g]:1:2", "is not an address"),
    ],
)
def test_what_is_no_port_is_said_to_be_none(text, words):
    with pytest.raises(ValueError, match=words):
        parse(text)


def test_a_port_in_use_is_named_with_a_way_out():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        number = taken.getsockname()[1]
        with pytest.raises(NetworkError, match=f"port {number} of 127.0.0.1 is in use") as refused:
            bind([PublishedPort(80, None, "127.0.0.1"), PublishedPort(80, number, "127.0.0.1")])
    assert "publish=80" in (refused.value.hint or "")


def test_an_address_of_another_machine_is_refused():
    with pytest.raises(NetworkError, match=r"has no address 192\.0\.2\.1"):
        bind([PublishedPort(80, 8080, "192.0.2.1")])


@pytest.mark.parametrize("text", ["8080:80", "80", "127.0.0.1:0:80", "[::1]:8080:80", "53/udp", "127.0.0.1:53:53/udp"])
def test_a_port_is_shown_as_it_is_written(text):
    assert text == str(parse(text))


def test_tcp_and_udp_may_have_the_same_number():
    # An address that nobody else listens at: the number is free there for TCP.
    (udp,) = bind([PublishedPort(80, None, "127.0.0.83", "udp")])
    with udp.listener:
        number = udp.listener.getsockname()[1]
        assert f"127.0.0.83:{number} → 80/udp" == udp.label
        with pytest.raises(NetworkError, match=f"port {number}/udp of 127.0.0.83 is in use") as refused:
            bind([PublishedPort(80, number, "127.0.0.83", "udp")])
        assert "publish=80/udp" in (refused.value.hint or "")
        bind([PublishedPort(80, number, "127.0.0.83")])[0].listener.close()


def test_a_bound_port_says_where_it_is_reached():
    (port,) = bind([PublishedPort(80, None, "127.0.0.1")])
    with port.listener:
        assert f"127.0.0.1:{port.listener.getsockname()[1]} → 80" == port.label
