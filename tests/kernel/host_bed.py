"""A "host" for network tests: a network namespace of the test's own, so that no address outside is ever reached.

outside 198.51.100.2 ── 198.51.100.1 host ── launch0 ── containers
"""

from __future__ import annotations

import os
import signal
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from runtime.kernel import libc
from runtime.kernel.processes import NEWNET
from tests.kernel.forked import forked

OUTSIDE, UPLINK = "198.51.100.2", "198.51.100.1"
OUTSIDE6, UPLINK6 = "2001:db8::2", "2001:db8::1"

_NODAD = 0x02


@contextmanager
def namespace() -> Iterator[int]:
    """A process in a network namespace of its own: its pid."""
    ready, go = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            libc.unshare(NEWNET)
            os.write(go, b"x")
            signal.pause()
        finally:
            os._exit(1)
    os.read(ready, 1)
    try:
        yield pid
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


@contextmanager
def outside(*, mtu: int = 1500, ipv6: bool = False) -> Iterator[int]:
    """A machine behind the host's uplink, which is the host's default route."""
    from pyroute2.iproute.linux import IPRoute

    with namespace() as pid:
        with IPRoute() as ipr:
            ipr.link("set", index=1, state="up")
            ipr.link("add", ifname="uplink", kind="veth", mtu=mtu, peer={"ifname": "eth0", "net_ns_pid": pid})
            index = ipr.link_lookup(ifname="uplink")[0]
            ipr.addr("add", index=index, address=UPLINK, prefixlen=24)
            ipr.link("set", index=index, state="up")
            ipr.route("add", dst="default", gateway=OUTSIDE)
            if ipv6:
                ipr.addr("add", index=index, address=UPLINK6, prefixlen=64, flags=_NODAD)
                ipr.route("add", dst="default", family=socket.AF_INET6, gateway=OUTSIDE6)
        with IPRoute(netns=f"/proc/{pid}/ns/net", flags=0) as ipr:
            index = ipr.link_lookup(ifname="eth0")[0]
            ipr.addr("add", index=index, address=OUTSIDE, prefixlen=24)
            ipr.link("set", index=index, state="up")
            if ipv6:
                ipr.addr("add", index=index, address=OUTSIDE6, prefixlen=64, flags=_NODAD)
        yield pid


def _everywhere() -> socket.socket:
    """IPv4 peers are seen as `::ffff:…`."""
    return socket.create_server(("::", 0), family=socket.AF_INET6, dualstack_ipv6=True)


def listening(pid: int | None = None) -> socket.socket:
    """A listener on every address of this namespace, or of that of *pid*, made there and used here."""
    if pid is None:
        return _everywhere()
    ours, theirs = socket.socketpair()
    with ours, theirs:

        def listen_there() -> None:
            with _everywhere() as server:
                socket.send_fds(theirs, [b"x"], [server.fileno()])

        forked(listen_there, enter=f"/proc/{pid}/ns/net")
        _, fds, _, _ = socket.recv_fds(ours, 1, 1)
    return socket.socket(fileno=fds[0])


def reaches(pid: int, address: Any, listener: socket.socket) -> str | None:
    """From the namespace of *pid*: the address that *listener* sees us with; None when nothing gets through."""
    port = listener.getsockname()[1]

    def connect() -> bool:
        try:
            socket.create_connection((str(address), port), timeout=0.7).close()
        except OSError:
            return False
        return True

    if not forked(connect, enter=f"/proc/{pid}/ns/net"):
        return None
    listener.settimeout(5)
    connection, peer = listener.accept()
    connection.close()
    return str(peer[0]).removeprefix("::ffff:")


def links() -> list[str]:
    return sorted(name for _, name in socket.if_nameindex())


def settles_to(expected: list[str], *, within_s: float = 5) -> bool:
    """Whether just these links are left soon: a process of its own removes them."""
    deadline = time.monotonic() + within_s
    while links() != expected and time.monotonic() < deadline:
        time.sleep(0.01)
    return links() == expected
