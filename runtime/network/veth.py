"""The pair of virtual Ethernet ends that joins a container to its bridge. Both die with the container's network namespace."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from runtime.kernel import libc
from runtime.kernel.processes import NEWNET
from runtime.network.links import Interface, Links

INSIDE = "eth0"
"""What the container's end is called inside."""

HOST_END_PREFIX = "lc-"

LONGEST_NAME = 15  # IFNAMSIZ is 16 with the final zero


def host_end_name(container_id: str) -> str:
    """`lc-<id>`, or a hash where an id is too long for an interface's name: found again from the id alone."""
    return interface_name(HOST_END_PREFIX, container_id)


def interface_name(prefix: str, word: str) -> str:
    """*prefix* and *word*, or a hash of *word* where that is too long for an interface."""
    name = f"{prefix}{word}"
    if len(name) > LONGEST_NAME:
        name = f"{prefix}{hashlib.sha256(word.encode()).hexdigest()}"[:LONGEST_NAME]
    return name


@contextmanager
def inside(netns_fd: int) -> Iterator[None]:
    """Be in another network namespace for the body; this thread only."""
    own = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        libc.setns(netns_fd, NEWNET)
        try:
            yield
        finally:
            libc.setns(own, NEWNET)
    finally:
        os.close(own)


def configure_inside(netns_fd: int, *, addresses: Sequence[Interface], gateways: Sequence[str]) -> None:
    """Bring the container's end up with its *addresses* and a default route for each of *gateways*. `lo` is init's."""
    with inside(netns_fd):
        links = Links()  # from now on of that namespace
        set_ipv6(INSIDE, "accept_ra", "0")
    with links:
        link = links.find(INSIDE)
        if link is None:
            raise FileNotFoundError(f"`{INSIDE}` is gone from the container")
        links.bring_up(link.index, addresses, gateways)


def set_ipv6(interface: str, key: str, value: str) -> None:
    """Write a setting of IPv6 of *interface*, in the namespace that this thread is in. Nothing happens without IPv6."""
    switch = f"/proc/sys/net/ipv6/conf/{interface}/{key}"
    if os.path.exists(switch):
        Path(switch).write_text(value)
