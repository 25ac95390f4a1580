"""`network: pasta` and published ports of an ordinary user, on a "host" of the test's own with a machine outside."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from runtime.errors import Unsupported
from runtime.kernel import libc, mounts
from runtime.kernel.processes import NEWNET, NEWNS
from runtime.network import pasta
from tests.kernel.forked import forked
from tests.kernel.host_bed import OUTSIDE, UPLINK, listening, outside
from tests.kernel.test_container_rootless import as_user, home
from tests.kernel.userland import inside

pytestmark = pytest.mark.requires("root", "bridge", "overlayfs", "userns", "proc")

__all__ = ["home"]  # a fixture

_MS_BIND = 4096

PROGRAM = f"""
import socket
route = [line.split() for line in open("/proc/net/route").read().splitlines()[1:]]
answer = [sorted(os.listdir("/sys/class/net")), any(words[1] == "00000000" for words in route)]
with socket.create_connection(({OUTSIDE!r}, PORT), timeout=5) as connection:
    answer.append(connection.getsockname()[0])
answer.append(open("/etc/resolv.conf").readline().strip())
"""


def open_tun(directory: Path) -> None:
    """A node that everybody may open over /dev/net/tun, as distributions have it; in a mount namespace of ours."""
    mounts.make_private()
    node = directory / "tun"
    os.mknod(node, 0o020666, os.makedev(10, 200))
    node.chmod(0o666)
    libc.mount(str(node), "/dev/net/tun", "", _MS_BIND)


@pytest.mark.requires("pasta", "ordinary-user", "overlay-userns")
@pytest.mark.parametrize("kind", ["SUBIDS", "SINGLE"])
def test_an_ordinary_users_program_gets_out(home, tmp_path, kind):
    def body() -> Any:
        open_tun(tmp_path)
        with outside() as machine, listening(machine) as server:
            program = PROGRAM.replace("PORT", str(server.getsockname()[1]))
            answer = as_user(home, f"answer = inside(home, {program!r}, network='pasta', kinds=[IdMapKind.{kind}])")
            answer.append(str(server.accept()[1][0]).removeprefix("::ffff:"))
            return answer

    assert [["eth0", "lo"], True, UPLINK, "nameserver 169.254.1.1", UPLINK] == forked(body, unshare=NEWNET | NEWNS)


@pytest.mark.requires("pasta")
def test_roots_program_gets_out_too(tmp_path):
    def body() -> Any:
        open_tun(tmp_path)
        with outside() as machine, listening(machine) as server:
            answer = inside(tmp_path, PROGRAM.replace("PORT", str(server.getsockname()[1])), network="pasta")
            answer.append(str(server.accept()[1][0]).removeprefix("::ffff:"))
            return answer

    assert [["eth0", "lo"], True, UPLINK, "nameserver 169.254.1.1", UPLINK] == forked(body, unshare=NEWNET | NEWNS)


@pytest.mark.requires("pasta", "ordinary-user", "overlay-userns")
def test_a_host_without_a_way_out_is_named_by_pasta_itself(home, tmp_path):
    code = """
from runtime.errors import NetworkError
try:
    inside(home, "answer = 1", network="pasta")
    answer = "it started"
except NetworkError as failure:
    answer = failure.message
"""

    def body() -> Any:
        open_tun(tmp_path)
        return as_user(home, code)

    assert forked(body, unshare=NEWNET | NEWNS).startswith(("`pasta` could not connect the container: ", "it started"))


@pytest.mark.requires("ordinary-user", "overlay-userns")
@pytest.mark.parametrize("network", ["none", pytest.param("pasta", marks=pytest.mark.requires("pasta"))])
def test_an_ordinary_user_publishes_ports(home, tmp_path, network):
    code = """
import signal, socket
from runtime.network.published import PublishedPort
program = "import socket; server = socket.create_server(('127.0.0.1', 80)); print('listening', flush=True); "
program += "server.accept()[0].sendall(b'hello')"
spec = python_spec(home, program, network=NETWORK, publish=(PublishedPort(80, None, "127.0.0.1"),))
container = lifecycle.create(spec, exit_record=None)
lifecycle.start(container)
os.read(container.stdout_fd, 100)
port = int(container.ports[0].split(" ")[0].rpartition(":")[2])
with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
    answer = connection.recv(100).decode()
lifecycle.kill(container)
lifecycle.wait(container)
container.close()
lifecycle.remove_overlay(spec.overlay_dir)
"""

    def body() -> Any:
        from runtime.network import loopback

        open_tun(tmp_path)
        loopback.bring_up()
        with outside():
            return as_user(home, code.replace("NETWORK", repr(network)))

    assert "hello" == forked(body, unshare=NEWNET | NEWNS)


def test_a_device_that_may_not_be_opened_is_named_with_a_way_out(monkeypatch, tmp_path):
    (tmp_path / "pasta").write_text("#!/bin/sh\n")
    (tmp_path / "pasta").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(Unsupported, match="tun`, which is not there") as refused:
        pasta.program(tun=tmp_path / "tun")
    assert "modprobe tun" in (refused.value.hint or "")


@pytest.mark.requires("ordinary-user", "overlay-userns")
def test_a_low_port_is_roots(home):
    code = """
from runtime.errors import Unsupported
from runtime.network.published import PublishedPort, bind
try:
    bind([PublishedPort(80, 81, "127.0.0.1")])
    answer = "bound"
except Unsupported as refused:
    answer = [refused.message, refused.hint]
"""
    if int(Path("/proc/sys/net/ipv4/ip_unprivileged_port_start").read_text()) <= 81:
        pytest.skip("everybody may open low ports here")
    message, hint = as_user(home, code)
    assert "port 81 of 127.0.0.1 may not be opened by you" == message
    assert "publish a higher one" in hint
