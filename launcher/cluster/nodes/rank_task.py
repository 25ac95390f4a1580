"""A task of the step of ranks: it hands what Slurm's process manager gave it to the init of its node's container, which starts
the rank with that, and stays until that rank has ended.

It stands between the two. What the rank says goes through it, to PMI2 by a descriptor, to PMIx by a port: so it sees whether the
rank has ever spoken. A rank whose MPI doesn't know this process manager is told nothing, takes itself for the only one, and
computes all that the others compute; by that it is found out.
"""

from __future__ import annotations

import os
import re
import select
import signal
import socket
from collections.abc import Mapping
from contextlib import suppress

from runtime.container.handshake import connect_socket, receive, send
from runtime.light_dataclasses import dataclass, field
from runtime.state_dir import RunDir

_HANDED_ON = re.compile(r"PMI_|PMI2_|PMIX_|SLURM_PMIX?|SLURM_JOBID$|SLURM_STEP_ID$")
"""By the last two OpenMPI 4 knows that it was started as a task (schizo_slurm.c)."""
_PATHS = re.compile(r"PMIX_(?:SERVER|SYSTEM)_TMPDIR|PMIX_GDS_MODULE")
"""Directories of the node's, and that what the server tells lies in files there: `hash` has it told by the connection."""
_SERVER = re.compile(r"(tcp4?://)([\d.]+):(\d+)")
_STDIN = 0
_LOOK_S = 0.05
_CHUNK = 1 << 16


@dataclass(slots=True)
class Relay:
    """Between a rank and its process manager."""

    env: dict[str, str]
    """For the rank."""
    fd_variables: tuple[str, ...] = ()
    fds: tuple[int, ...] = ()
    listener: socket.socket | None = None
    server: tuple[str, int] | None = None
    other_side: dict[socket.socket, socket.socket] = field(default_factory=dict)
    from_rank: set[socket.socket] = field(default_factory=set)
    has_spoken: bool = False

    @classmethod
    def between(cls, environ: Mapping[str, str]) -> Relay:
        """For the process manager that *environ* speaks of."""
        env = {name: value for name, value in environ.items() if _HANDED_ON.match(name) and not _PATHS.fullmatch(name)}
        relay = cls(env)
        if "PMI_FD" in env:
            rank, ours = socket.socketpair()
            relay._pair(ours, socket.socket(fileno=int(env.pop("PMI_FD"))))
            relay.fd_variables, relay.fds = ("PMI_FD",), (rank.detach(),)
        addresses = {name: _SERVER.search(value) for name, value in env.items() if name.startswith("PMIX_SERVER_URI")}
        for name, found in addresses.items():
            if found is not None:
                relay.server = found[2], int(found[3])
                relay.listener = relay.listener or socket.create_server(("127.0.0.1", 0))
                port = relay.listener.getsockname()[1]
                env[name] = f"{env[name][: found.start()]}{found[1]}127.0.0.1:{port}{env[name][found.end() :]}"
        if relay.server is not None:
            env |= {"PMIX_GDS_MODULE": "hash", "PMIX_MCA_gds": "hash"}
        return relay

    def _pair(self, rank: socket.socket, server: socket.socket) -> None:
        self.other_side |= {rank: server, server: rank}
        self.from_rank.add(rank)

    def sources(self) -> list[socket.socket]:
        return [*self.other_side, *([self.listener] if self.listener is not None else [])]

    def pass_on(self, source: socket.socket, init: socket.socket) -> None:
        if source is self.listener:
            rank, _ = source.accept()
            assert self.server is not None
            self._pair(rank, socket.create_connection(self.server))
            return
        if source not in self.other_side:
            return  # closed with the other side a moment ago
        chunk = b""
        with suppress(OSError):
            chunk = source.recv(_CHUNK)
        if chunk and source in self.from_rank and not self.has_spoken:
            self.has_spoken = True
            send(init, {"task": {"spoke": True}})  # before its word goes on: init has it before the rank can have ended
        try:
            self.other_side[source].sendall(chunk)
        except OSError:
            chunk = b""
        if not chunk:
            other = self.other_side.pop(source)
            del self.other_side[other]
            source.close()
            other.close()


def main(run_dir: RunDir, processes: int) -> int:
    """Returns the task's exit code, which is the rank's."""
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2):
        signal.signal(number, signal.SIG_IGN)  # Slurm sends them to the supervisors, too, who pass them on
    node, rank = divmod(int(os.environ["SLURM_PROCID"]), processes)
    init = _connect(run_dir.on_node(node))
    if init is None:
        return 0
    relay = Relay.between(os.environ)
    mpi = "PMIx" if relay.server is not None else "PMI2"
    alone = f"rank {os.environ['SLURM_PROCID']} of {os.environ['SLURM_NTASKS']} was alone: it has never spoken {mpi}"
    hint = "is it an MPI program, and is its MPI built for that? `cluster.mpi: pmix` is OpenMPI's, `pmi2` MPICH's and Intel MPI's"
    said = {"rank": rank, "env": relay.env, "fd_variables": relay.fd_variables, "if_silent": f"{alone}; {hint}"}
    send(init, {"task": said}, relay.fds)
    for fd in relay.fds:
        os.close(fd)
    while True:
        sources = relay.sources()
        ready, _, _ = select.select([_STDIN, init.fileno(), *(source.fileno() for source in sources)], [], [])
        if init.fileno() in ready:
            ended = receive(init)
            how = ended[0]["ended"] if ended is not None else {"code": 0}  # the container has ended, and is accounted for
            return int(how["code"]) if how.get("code") is not None else 128 + int(how.get("signal") or 0)
        if _STDIN in ready and not os.read(_STDIN, _CHUNK):
            return 0
        for source in sources:
            if source.fileno() in ready:
                relay.pass_on(source, init)


def _connect(node_dir: RunDir) -> socket.socket | None:
    """To the init of that node's container, once it is there; None when nobody wants tasks any more."""
    while True:
        with suppress(OSError):
            return connect_socket(node_dir.init_socket)
        if select.select([_STDIN], [], [], _LOOK_S)[0] and not os.read(_STDIN, _CHUNK):
            return None
