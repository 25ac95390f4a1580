"""Who is at the other end of a connection to a port of this machine's loopback: may they use this user's MLflow?

MLflow's UI has no passwords, and every user of a machine can connect to 127.0.0.1. The kernel lists each TCP socket with its
owner in /proc/net/tcp (proc_net_tcp(5)); the client's end of a loopback connection is in the same list as ours. With
`network: host` an ordinary user's container is that user to the kernel, so its processes are told apart by their user namespace
(user_namespaces(7)): what comes from another one than ours needs a token.
"""

from __future__ import annotations

import os
import pwd
import socket
import struct
import sys
from collections.abc import Mapping
from functools import lru_cache
from typing import NamedTuple


class Peer(NamedTuple):
    """A socket as the kernel lists it."""

    uid: int
    inode: int


def peer_of(client: tuple[str, int], server: tuple[str, int]) -> Peer | None:
    """The loopback socket bound to *client* and connected to *server*; None when no process has it (any more).

    A socket that was closed with something still on its way has no inode, and to older kernels root for an owner.
    """
    wanted = [_as_listed(client), _as_listed(server)]
    with open("/proc/net/tcp", encoding="ascii") as table:
        next(table)
        for line in table:
            columns = line.split()
            if columns[1:3] == wanted:
                return Peer(int(columns[7]), int(columns[9])) if columns[9] != "0" else None
    return None


def _as_listed(address: tuple[str, int]) -> str:
    """`127.0.0.1:5000` → `0100007F:1388`: the address as the machine's own integer, the port as a plain one."""
    (number,) = struct.unpack("=I", socket.inet_aton(address[0]))
    return f"{number:08X}:{address[1]:04X}"


def allowed_users(environ: Mapping[str, str]) -> frozenset[int]:
    """User ids that may use the UI: the server's own, root, who became root by sudo, and those named in LAUNCH_UI_USERS."""
    allowed = {os.geteuid(), 0}
    named = [environ.get("SUDO_UID", ""), *environ.get("LAUNCH_UI_USERS", "").split(",")]
    for name in filter(None, (each.strip() for each in named)):
        if name.isdigit():
            allowed.add(int(name))
            continue
        try:
            allowed.add(pwd.getpwnam(name).pw_uid)
        except KeyError:
            print(f"LAUNCH_UI_USERS names `{name}`, whom this machine doesn't know", file=sys.stderr)
    return frozenset(allowed)


@lru_cache(maxsize=1024)
def is_outside_containers(peer: Peer) -> bool:
    """Whether *peer* is held by processes of our own user namespace, once and for all: an inode is not used again.

    Who could be somebody else is asked first: where no other user namespace has the peer's user and our network, nobody can. Else
    it has to be found among the open files of a process of ours; what hides those (prctl(2), PR_SET_DUMPABLE) is not found.
    """
    pids = [name for name in os.listdir("/proc") if name.isdigit()]
    foreign = {pid for pid in pids if _is_foreign(pid)}
    if _sees_all() and not any(_has_user(pid, peer.uid) and _may_share_network(pid) for pid in foreign):
        return True
    holders = {pid for pid in pids if _holds(pid, peer.inode)}
    return bool(holders) and not holders & foreign


def _sees_all() -> bool:
    """Whether /proc shows other users' processes, too (proc(5), `hidepid`)."""
    return os.access("/proc/1/status", os.R_OK)


def _is_foreign(pid: str) -> bool:
    """Whether it is in another user namespace. Where we may not look, its map tells: anybody may read that."""
    try:
        return os.readlink(f"/proc/{pid}/ns/user") != os.readlink("/proc/self/ns/user")
    except PermissionError:
        return _id_map(pid) != _id_map("self")
    except OSError:
        return False


def _has_user(pid: str, uid: int) -> bool:
    """Whether its user namespace has the user: then it could make a socket of that user, whatever its own ids are by now."""
    return any(outside <= uid < outside + count for _, outside, count in _id_map(pid))


def _id_map(pid: str) -> list[tuple[int, int, int]]:
    """Ids inside and outside, as we count those, and how many."""
    try:
        with open(f"/proc/{pid}/uid_map", encoding="ascii") as lines:
            return [(int(inside), int(outside), int(count)) for inside, outside, count in map(str.split, lines)]
    except OSError:
        return []


def _may_share_network(pid: str) -> bool:
    try:
        return os.readlink(f"/proc/{pid}/ns/net") == os.readlink("/proc/self/ns/net")
    except PermissionError:
        return True
    except OSError:
        return False


def _holds(pid: str, inode: int) -> bool:
    """Whether a thread of it has that socket open: each may have files of its own (clone(2), CLONE_FILES)."""
    wanted = f"socket:[{inode}]"
    try:
        tables = [f"/proc/{pid}/fd", *(f"/proc/{pid}/task/{tid}/fd" for tid in os.listdir(f"/proc/{pid}/task") if tid != pid)]
    except OSError:
        return False
    return any(_target(f"{table}/{number}") == wanted for table in tables for number in _listed(table))


def _listed(directory: str) -> list[str]:
    try:
        return os.listdir(directory)
    except OSError:
        return []


def _target(path: str) -> str:
    try:
        return os.readlink(path)
    except OSError:
        return ""
