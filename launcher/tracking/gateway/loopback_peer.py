"""Who is at the other end of a loopback TCP connection: the user id that owns its socket.

MLflow's UI has no passwords, and every user of a machine can connect to 127.0.0.1. The kernel lists each TCP socket with its
owner in /proc/net/tcp (proc_net_tcp(5)); the client's end of a loopback connection is in the same list as ours.
"""

from __future__ import annotations

import socket
import struct


def owner_of(client: tuple[str, int], server: tuple[str, int]) -> int | None:
    """The user id that owns the socket bound to *client* and connected to *server*; None when there is no such socket."""
    wanted = [_as_listed(client), _as_listed(server)]
    with open("/proc/net/tcp", encoding="ascii") as table:
        next(table)
        for line in table:
            columns = line.split()
            if columns[1:3] == wanted:
                return int(columns[7])
    return None


def _as_listed(address: tuple[str, int]) -> str:
    """`127.0.0.1:5000` → `0100007F:1388`: the address as the machine's own integer, the port as a plain one."""
    (number,) = struct.unpack("=I", socket.inet_aton(address[0]))
    return f"{number:08X}:{address[1]:04X}"
