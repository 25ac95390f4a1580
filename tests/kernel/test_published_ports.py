"""Published ports on the real kernel: from the machine into a container, whatever its network, and when its maker is gone."""

from __future__ import annotations

import hashlib
import os
import signal
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from runtime.container import lifecycle
from runtime.container.lifecycle import Container
from runtime.errors import NetworkError
from runtime.kernel.processes import NEWNET
from runtime.network import bridge
from runtime.network.published import PublishedPort
from tests.kernel.forked import forked
from tests.kernel.host_bed import links, settles_to
from tests.kernel.userland import python_spec

pytestmark = pytest.mark.requires("root", "overlayfs", "userns", "proc")

SERVER = """
import socket, sys
server = socket.create_server((ADDRESS, 8000), family=socket.AF_INET6 if ":" in ADDRESS else socket.AF_INET)
print("listening", flush=True)
while True:
    connection, peer = server.accept()
    with connection:
        received = bytearray()
        while chunk := connection.recv(1 << 16):
            received += chunk
        connection.sendall(received[::-1])
"""


@contextmanager
def serving(
    directory: Path, *, address: str = "127.0.0.1", code: str = SERVER, **changes: object
) -> Iterator[tuple[Container, int]]:
    """A container with a server that answers with what it got, backwards, once it got all; and the port of this machine."""
    script = code.replace("ADDRESS", repr(address))
    changes.setdefault("publish", (PublishedPort(8000, None, "127.0.0.1"),))
    spec = python_spec(directory, script, **changes)
    container = lifecycle.create(spec, exit_record=directory / "exit", init_socket=directory / "init.sock")
    try:
        lifecycle.start(container)
        assert b"listening\n" == os.read(container.stdout_fd, 100)
        yield container, int(container.ports[0].split(" ")[0].rpartition(":")[2])
    finally:
        lifecycle.kill(container)
        lifecycle.wait(container)
        container.close()
        lifecycle.remove_overlay(spec.overlay_dir)
        if spec.network == "bridge":
            bridge.disconnect(spec.container_id)


def exchanged(port: int, content: bytes) -> bytes:
    """What the server says to *content*."""
    with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
        connection.sendall(content)
        connection.shutdown(socket.SHUT_WR)
        answer = bytearray()
        while chunk := connection.recv(1 << 16):
            answer += chunk
    return bytes(answer)


@pytest.mark.parametrize("network", ["none", pytest.param("bridge", marks=pytest.mark.requires("bridge"))])
def test_a_port_is_reached_although_the_program_listens_on_loopback_only(tmp_path, network):
    def body() -> None:
        from runtime.network import loopback

        loopback.bring_up()
        with serving(tmp_path, network=network) as (_, port):
            assert b"olleh" == exchanged(port, b"hello")

    forked(body, unshare=NEWNET)


@pytest.mark.parametrize("address", ["0.0.0.0", "::1", "::"])
def test_a_port_is_reached_wherever_the_program_listens(tmp_path, address):
    with serving(tmp_path, address=address) as (_, port):
        assert b"olleh" == exchanged(port, b"hello")


@pytest.mark.requires("bridge")
def test_a_program_that_listens_on_its_own_address_is_reached_too(tmp_path):
    code = SERVER.replace("ADDRESS", "socket.gethostbyname(socket.gethostname())", 1).replace("ADDRESS", "'ipv4'")

    def body() -> None:
        from runtime.network import loopback

        loopback.bring_up()
        with serving(tmp_path, code=code, network="bridge") as (_, port):
            assert b"olleh" == exchanged(port, b"hello")
        assert settles_to(["lo"]), links()

    forked(body, unshare=NEWNET)


def test_much_goes_through_unchanged_both_ways(tmp_path):
    content = os.urandom(1 << 20) * 20
    with serving(tmp_path) as (_, port):
        answer = exchanged(port, content)
    assert hashlib.sha256(content[::-1]).digest() == hashlib.sha256(answer).digest()


def test_where_nobody_listens_yet_the_connection_is_reset(tmp_path):
    code = "import time; print('listening', flush=True); time.sleep(60)"
    with serving(tmp_path, code=code) as (_, port):
        with pytest.raises(ConnectionResetError):
            exchanged(port, b"hello")


def test_a_port_in_use_is_an_error_before_a_process_is_made(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        number = taken.getsockname()[1]
        spec = python_spec(tmp_path, "pass", publish=(PublishedPort(80, number, "127.0.0.1"),))
        with pytest.raises(NetworkError, match=f"port {number} of 127.0.0.1 is in use"):
            lifecycle.create(spec, exit_record=None)


def test_the_port_is_free_again_when_the_container_has_ended(tmp_path):
    with serving(tmp_path) as (_, port):
        pass
    with socket.create_server(("127.0.0.1", port)):
        pass


def test_the_port_is_served_on_when_the_maker_was_killed_and_closed_when_the_container_ends(tmp_path):
    """`kill -9` of a supervisor: init goes on, and so does what serves its network; with init both are gone."""
    reader, writer = os.pipe()
    maker = os.fork()
    if maker == 0:
        context = serving(tmp_path)
        container, port = context.__enter__()
        os.write(writer, f"{port} {container.pid}".encode())
        signal.pause()
    port, init = map(int, os.read(reader, 100).split())
    os.kill(maker, signal.SIGKILL)
    os.waitpid(maker, 0)
    assert b"olleh" == exchanged(port, b"hello")
    os.kill(init, signal.SIGKILL)
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except ConnectionError:
            break
        time.sleep(0.01)
    else:
        pytest.fail("the port is still open")
    for fd in (reader, writer):
        os.close(fd)
    lifecycle.remove_overlay(tmp_path / "overlay")


def test_the_server_does_not_see_descriptors_of_the_machines_side(tmp_path):
    code = """
import os
print("listening", flush=True)
print(sorted(os.readlink(f"/proc/self/fd/{fd}").split(":")[0] for fd in os.listdir("/proc/self/fd") if int(fd) > 2), flush=True)
"""
    with serving(tmp_path, code=code) as (container, _):
        assert "socket" not in os.read(container.stdout_fd, 1000).decode()


def test_many_connections_at_once(tmp_path):
    with serving(tmp_path) as (_, port):
        open_ones = [socket.create_connection(("127.0.0.1", port), timeout=20) for _ in range(100)]
        for number, connection in enumerate(open_ones):
            connection.sendall(b"%03d" % number)
            connection.shutdown(socket.SHUT_WR)
        answers = [connection.recv(10) for connection in open_ones]
        assert [(b"%03d" % number)[::-1] for number in range(100)] == answers
        for connection in open_ones:
            connection.close()


ECHO = """
import socket
server = socket.socket(socket.AF_INET6 if ":" in ADDRESS else socket.AF_INET, socket.SOCK_DGRAM)
server.bind((ADDRESS, 8000))
print("listening", flush=True)
while True:
    datagram, peer = server.recvfrom(65535)
    server.sendto(datagram[::-1], peer)
"""


def asked(address: tuple[str, int], content: bytes, *, patience: int = 50) -> bytes:
    """What the server says to a datagram; asked again as whoever speaks UDP must."""
    family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as client:
        client.connect(address)  # so that an answer from another address is none
        client.settimeout(0.2)
        for _ in range(patience):
            client.send(content)
            try:
                return client.recv(65535)
            except TimeoutError:
                continue
    raise TimeoutError(content)


def udp(address: str | None = None) -> tuple[PublishedPort, ...]:
    return (PublishedPort(8000, None, address, "udp"),)


@pytest.mark.parametrize("address", ["127.0.0.1", "0.0.0.0", "::1"])
def test_a_udp_port_is_reached_wherever_the_program_listens(tmp_path, address):
    with serving(tmp_path, address=address, code=ECHO, publish=udp("127.0.0.1")) as (_, port):
        assert b"olleh" == asked(("127.0.0.1", port), b"hello")
        assert b"x" * 60000 == asked(("127.0.0.1", port), b"x" * 60000)


def test_a_udp_answer_comes_from_the_address_that_was_asked(tmp_path):
    """All of 127.0.0.0/8 is this machine: without care answers would come from 127.0.0.1, and clients drop them."""
    with serving(tmp_path, code=ECHO, publish=udp()) as (_, port):
        for host in ("127.0.0.1", "127.0.0.77", "::1"):
            assert b"olleh" == asked((host, port), b"hello")


def test_many_udp_clients_get_their_own_answers(tmp_path):
    with serving(tmp_path, code=ECHO, publish=udp("127.0.0.1")) as (_, port):
        for number in range(600):  # more than are remembered
            assert (b"%03d" % number)[::-1] == asked(("127.0.0.1", port), b"%03d" % number)


def test_a_udp_program_that_begins_later_is_reached_by_who_asked_before(tmp_path):
    code = "import time; print('listening', flush=True); time.sleep(0.6)" + ECHO.replace("print", "(lambda *a, **k: 0)")
    with serving(tmp_path, code=code, publish=udp("127.0.0.1")) as (_, port):
        assert b"olleh" == asked(("127.0.0.1", port), b"hello")


def test_a_killed_network_proxy_is_replaced_and_its_port_stays_open(tmp_path):
    with serving(tmp_path) as (container, port):
        children = Path(f"/proc/{container.network_proxy}/task/{container.network_proxy}/children")
        for _ in range(3):
            (proxy,) = children.read_text().split()
            os.kill(int(proxy), signal.SIGKILL)
            assert b"olleh" == exchanged(port, b"hello")
        os.kill(container.network_proxy, signal.SIGKILL)  # without its supervisor it goes on
        assert b"olleh" == exchanged(port, b"hello")
