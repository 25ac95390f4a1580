"""Many containers on one network at once: they meet by name, and leave nothing.

LAUNCH_TESTS_CONTAINERS=100 pytest tests/kernel/test_many_containers.py     that many; a few by default
"""

from __future__ import annotations

import os
import time
import traceback
from contextlib import suppress
from pathlib import Path

import pytest

from runtime.container.lifecycle import remove_overlay
from runtime.container.run_once import run_to_completion
from runtime.kernel.processes import NEWNET
from runtime.network import loopback
from runtime.network.nftables import Nftables
from runtime.network.published import PublishedPort
from tests.kernel.forked import forked
from tests.kernel.host_bed import links, settles_to
from tests.kernel.userland import python_spec

pytestmark = pytest.mark.requires("root", "bridge", "overlayfs", "userns", "proc")

COUNT = int(os.environ.get("LAUNCH_TESTS_CONTAINERS", "6"))

STORE = f"""
import socket
with socket.create_server(("", 29400), backlog=1024) as server:
    members = [server.accept() for _ in range({COUNT - 1})]
    told = " ".join(sorted(peer[0] for _, peer in members)).encode()
    for connection, _ in members:
        connection.sendall(told)
        connection.close()
"""
MEMBER = f"""
import socket, time
own = socket.gethostbyname(socket.gethostname())
deadline = time.monotonic() + 100
while True:
    try:
        connection = socket.create_connection(("rank-0", 29400), timeout=100)
        break
    except OSError:
        if time.monotonic() > deadline:
            raise
        time.sleep(0.05)
told = bytearray()
while chunk := connection.recv(1 << 16):
    told += chunk
addresses = told.decode().split()
assert len(set(addresses)) == {COUNT - 1}, addresses
assert own in addresses, (own, addresses)
"""


def test_many_meet_by_name_and_leave_nothing(tmp_path: Path) -> None:
    """As torchrun does: rank 0 holds the rendezvous, the others ask for it by its name, and each is told all addresses."""

    def body() -> list[str]:
        loopback.bring_up()
        children = {os.fork() or _be_member(tmp_path, number): number for number in range(COUNT)}
        failed = [children[pid] for pid in children if os.waitpid(pid, 0)[1] != 0]
        said = [(tmp_path / f"{number}/said").read_text()[-500:] for number in failed[:3]]
        if not settles_to(["lo"], within_s=20):
            said.append(f"links are left: {links()}")
        with Nftables() as nft:
            said += [f"a table is left: {table}" for table in nft.tables()]
        deadline = time.monotonic() + 10
        while (others := _others_here()) and time.monotonic() < deadline:
            time.sleep(0.05)
        return said + [f"a process is left: {other}" for other in others]

    assert [] == forked(body, unshare=NEWNET)


def _be_member(tmp_path: Path, number: int) -> int:
    """The container of rank *number*, from its beginning to its end; never returns."""
    status = 1
    directory = tmp_path / str(number)
    directory.mkdir()
    try:
        spec = python_spec(
            directory,
            STORE if number == 0 else MEMBER,
            container_id=f"many-{os.getppid()}-{number}",
            hostname=f"rank-{number}",
            network="bridge",
            network_name="many",
            publish=(PublishedPort(80, None, "127.0.0.1"), PublishedPort(53, None, "127.0.0.1", "udp")),
        )
        ended, said = run_to_completion(spec, timeout_s=120)
        (directory / "said").write_bytes(said + f"\nit ended with {ended}".encode())
        remove_overlay(spec.overlay_dir)
        status = 0 if ended.code == 0 else 1
    except BaseException:
        (directory / "said").write_text(traceback.format_exc())
    finally:
        os._exit(status)


def _others_here() -> list[str]:
    """The processes in our network namespace beside us: who keeps a network, takes a link away, or should have ended."""
    own = os.readlink("/proc/self/ns/net")
    found = []
    for directory in Path("/proc").iterdir():
        if directory.name.isdigit() and directory.name != str(os.getpid()):
            with suppress(OSError):
                if os.readlink(directory / "ns/net") == own:
                    found.append((directory / "comm").read_text().strip())
    return found
