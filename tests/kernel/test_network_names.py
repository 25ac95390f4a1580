"""Names in containers on the real kernel: members of a named network, and name servers that only the host itself reaches."""

from __future__ import annotations

import os
import socket
import threading
from pathlib import Path
from typing import Any

import pytest

from runtime.container import lifecycle
from runtime.kernel import libc, mounts
from runtime.kernel.processes import NEWNET, NEWNS
from runtime.network import bridge, loopback
from runtime.network.name_service import Question
from tests.kernel.forked import forked
from tests.kernel.host_bed import links, settles_to
from tests.kernel.userland import inside, python_spec

pytestmark = pytest.mark.requires("root", "bridge", "overlayfs", "userns", "proc")

_MS_BIND = 4096

ASK = """
import socket
def asked(name):
    try:
        return sorted({found[4][0] for found in socket.getaddrinfo(name, 80, proto=socket.IPPROTO_TCP)})
    except OSError as error:
        return str(error)
"""


def resolv_conf(directory: Path, text: str) -> None:
    """The host's /etc/resolv.conf, in a mount namespace of ours."""
    mounts.make_private()
    (directory / "resolv.conf").write_text(text)
    libc.mount(str(directory / "resolv.conf"), os.path.realpath("/etc/resolv.conf"), "", _MS_BIND)


def answering(address: str = "127.0.0.1") -> socket.socket:
    """A name server of the host's: every name has 192.0.2.55, `long.example` only by TCP, `nobody.example` nothing."""
    udp, tcp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM), socket.create_server((address, 53))
    udp.bind((address, 53))

    def answer(query: bytes, *, by_tcp: bool) -> bytes:
        question = Question(query)
        if question.name == "nobody.example":
            return question.answer([], code=3)
        if question.name == "long.example" and not by_tcp:
            truncated = bytearray(question.answer([]))
            truncated[2] |= 0x02
            return bytes(truncated)
        return question.answer([(1, socket.inet_aton("192.0.2.55"))] if question.type == 1 else [])

    def serve_udp() -> None:
        while True:
            query, client = udp.recvfrom(4096)
            udp.sendto(answer(query, by_tcp=False), client)

    def serve_tcp() -> None:
        while True:
            connection, _ = tcp.accept()
            with connection:
                query = connection.recv(4096)
                said = answer(query[2:], by_tcp=True)
                connection.sendall(len(said).to_bytes(2, "big") + said)

    for serve in (serve_udp, serve_tcp):
        threading.Thread(target=serve, daemon=True).start()
    return udp


def test_a_server_on_the_hosts_loopback_answers_in_a_container(tmp_path):
    code = f"""{ASK}
answer = [asked("host.example"), asked("nobody.example"), asked("long.example")]
answer.append(open("/etc/resolv.conf").readline().strip())
"""

    def body() -> Any:
        resolv_conf(tmp_path, "nameserver 127.0.0.1\n")
        loopback.bring_up()
        answering()
        answer = inside(tmp_path, code, network="bridge")
        assert settles_to(["lo"]), links()
        return answer

    found, nobody, long, server = forked(body, unshare=NEWNET | NEWNS)
    assert ["192.0.2.55"] == found
    assert "Name or service not known" in nobody
    assert ["192.0.2.55"] == long
    assert "nameserver 127.0.0.11" == server


def test_a_server_that_does_not_answer_gives_way_to_the_next(tmp_path):
    def body() -> Any:
        resolv_conf(tmp_path, "nameserver 127.0.0.9\nnameserver 127.0.0.1\n")
        loopback.bring_up()
        answering()
        return inside(tmp_path, f"{ASK}\nanswer = asked('host.example')", network="bridge")

    assert ["192.0.2.55"] == forked(body, unshare=NEWNET | NEWNS)


def test_members_of_a_network_find_one_another_by_name_also_those_who_come_later(tmp_path):
    """And itself by its own name, as others do: gloo and torchrun announce what that says."""
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
    waits = f"""{ASK}
import sys, time
print("there", flush=True)
sys.stdin.readline()
print(asked("second"), asked("trainer"), asked("host.example"), asked(socket.gethostname()), flush=True)
"""
    asks = (
        f"{ASK}\nanswer = [asked('first'), asked('trainer'), asked('launch-first'), socket.gethostbyaddr(asked('first')[0])[0]]"
    )

    def body() -> Any:
        resolv_conf(tmp_path, "nameserver 127.0.0.1\n")
        loopback.bring_up()
        answering()
        reader, writer = os.pipe()
        changes = {"network": "bridge", "network_name": "team"}
        spec = python_spec(
            tmp_path / "first", waits, container_id="first", hostname="launch-first", names=("trainer",), **changes
        )
        first = lifecycle.create(spec, exit_record=None, stdin=reader)
        lifecycle.start(first)
        os.read(first.stdout_fd, 100)
        other = python_spec(tmp_path / "second", "import time; time.sleep(60)", container_id="second", **changes)
        second = lifecycle.create(other, exit_record=None)
        lifecycle.start(second)
        (tmp_path / "third").mkdir()
        answer = inside(tmp_path / "third", asks, container_id="third", **changes)
        os.write(writer, b"go\n")
        said = os.read(first.stdout_fd, 1000).decode()
        for container, one in ((first, spec), (second, other)):
            lifecycle.kill(container)
            lifecycle.wait(container)
            container.close()
            bridge.disconnect(one.container_id)
            lifecycle.remove_overlay(one.overlay_dir)
        assert settles_to(["lo"]), links()
        return [*answer, said]

    by_id, by_name, by_host, reverse, said = forked(body, unshare=NEWNET | NEWNS)
    assert ["10.217.0.2"] == by_id == by_name == by_host
    assert "launch-first" == reverse
    assert "['10.217.0.3'] ['10.217.0.2'] ['192.0.2.55'] ['10.217.0.2']" == said.strip()


def test_a_member_of_another_network_is_not_known(tmp_path):
    def body() -> Any:
        resolv_conf(tmp_path, "nameserver 127.0.0.1\n")
        loopback.bring_up()
        answering()
        (tmp_path / "one").mkdir()
        spec = python_spec(
            tmp_path / "one", "import time; time.sleep(60)", container_id="one", network="bridge", network_name="a"
        )
        one = lifecycle.create(spec, exit_record=None)
        lifecycle.start(one)
        (tmp_path / "other").mkdir()
        answer = inside(tmp_path / "other", f"{ASK}\nanswer = asked('one')", network="bridge", network_name="b")
        lifecycle.kill(one)
        lifecycle.wait(one)
        one.close()
        bridge.disconnect("one")
        lifecycle.remove_overlay(spec.overlay_dir)
        return answer

    assert ["192.0.2.55"] == forked(body, unshare=NEWNET | NEWNS), "the host's server was asked instead"


def test_a_program_that_may_write_nothing_knows_its_own_address_too(tmp_path):
    code = f"{ASK}\nanswer = asked(socket.gethostname())"

    def body() -> Any:
        loopback.bring_up()
        return inside(tmp_path, code, network="bridge", readonly_root=True)

    assert ["10.217.0.2"] == forked(body, unshare=NEWNET)


def test_a_network_proxy_has_hardly_any_power(tmp_path):
    """It reads what the container sends, and is root's."""

    def body() -> Any:
        loopback.bring_up()
        resolv_conf(tmp_path, "nameserver 127.0.0.1\n")
        spec = python_spec(tmp_path, "import time; time.sleep(60)", network="bridge", container_id="a1b2c3")
        container = lifecycle.create(spec, exit_record=None)
        (proxy,) = Path(f"/proc/{container.network_proxy}/task/{container.network_proxy}/children").read_text().split()
        status = Path(f"/proc/{proxy}/status").read_text()
        files = [os.readlink(path) for path in Path(f"/proc/{proxy}/fd").iterdir()]
        lifecycle.kill(container)
        lifecycle.wait(container)
        container.close()
        bridge.disconnect("a1b2c3")
        lifecycle.remove_overlay(spec.overlay_dir)
        return [line.split()[1] for line in status.splitlines() if line.startswith(("CapEff", "CapPrm"))], sorted(files)

    powers, files = forked(body, unshare=NEWNET | NEWNS)
    assert [f"{1 << 21:016x}"] * 2 == powers  # CAP_SYS_ADMIN: to enter network namespaces
    assert all(file.startswith(("/dev/null", "socket:", "net:", "anon_inode:")) for file in files), files
