"""Give a network device of this machine to a container (runtime-spec 1.3, config-linux.md, "Network Devices").

Its hardware address and MTU go along by themselves; its addresses the kernel takes away, so they are told again inside. Routes
are the container's to make. When the container's namespace ends, a physical device comes back by itself; a virtual one is gone.
"""

from __future__ import annotations

import os

from runtime.errors import NetworkError
from runtime.network.links import Links
from runtime.network.veth import LONGEST_NAME, inside


def move_device(name: str, *, netns_fd: int, inside_name: str) -> None:
    """Move the device *name* of this network namespace into *netns_fd*, where it is called *inside_name* and is up. Raises
    NetworkError; then it is where it was."""
    if not 0 < len(os.fsencode(inside_name)) <= LONGEST_NAME or "/" in inside_name or inside_name in (".", ".."):
        raise NetworkError(
            f"`{inside_name}` is not a name for a network device", hint=f"at most {LONGEST_NAME} bytes, without `/`"
        )
    with inside(netns_fd):
        there = Links()
    with Links() as here, there:
        found = here.find(name)
        if found is None:
            raise NetworkError(f"there is no network device `{name}` to be moved", hint="`ip link` lists those that are there")
        if there.find(inside_name) is not None:
            raise NetworkError(f"the container has a network device `{inside_name}` already: `{name}` cannot be called so")
        addresses = here.kept_addresses(found.index)
        try:
            here.move(found.index, netns_fd=netns_fd, name=inside_name)
            moved = there.find(inside_name)
            if moved is None:
                raise NetworkError(f"the network device `{name}` is gone from the container")
            there.add_addresses(moved.index, addresses)
            there.bring_up(moved.index, ())
        except OSError as error:
            _bring_back(there, here, name, inside_name, addresses)
            raise NetworkError(f"the network device `{name}` cannot be moved: {error.strerror or error}") from error


def _bring_back(there: Links, here: Links, name: str, inside_name: str, addresses: list[bytes]) -> None:
    """Undo a move that failed half-way: the kernel moves first and renames then."""
    stray = there.find(inside_name) or there.find(name)
    if stray is None:
        return
    own = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        there.move(stray.index, netns_fd=own, name=name)
    finally:
        os.close(own)
    back = here.find(name)
    if back is not None:
        here.add_addresses(back.index, addresses)
