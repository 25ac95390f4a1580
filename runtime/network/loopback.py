"""The loopback interface of the network namespace that this process is in, by ioctl: it needs no netlink library."""

from __future__ import annotations

import fcntl
import socket
import struct

_SIOCGIFFLAGS = 0x8913
_SIOCSIFFLAGS = 0x8914
_IFF_UP = 0x1


def bring_up() -> None:
    """Set `lo` up (netdevice(7)); an interface that is down accepts bind but no connect."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as any_socket:
        request = struct.pack("16sH22x", b"lo", 0)
        flags = struct.unpack("16sH22x", fcntl.ioctl(any_socket, _SIOCGIFFLAGS, request))[1]
        fcntl.ioctl(any_socket, _SIOCSIFFLAGS, struct.pack("16sH22x", b"lo", flags | _IFF_UP))


def listen() -> socket.socket:
    """A TCP listener on 127.0.0.1 and a port that the kernel picks."""
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    listener.bind(("127.0.0.1", 0))
    listener.listen(64)
    return listener


def free_port() -> int:
    """A port of 127.0.0.1 that is free now."""
    with listen() as probe:
        return int(probe.getsockname()[1])
