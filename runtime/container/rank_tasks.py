"""Ranks of a program: what tells them apart, and those that begin only when a task of a cluster's job step comes for each.

A process manager (PMI, PMIx) gives each task of a step what one rank finds the others by: variables and descriptors. A task
brings them to init, its rank is a child of init like any other, and the task stays until that has ended. It says when its rank
has spoken to the process manager: one that ends well without was alone, whatever it was told.
"""

from __future__ import annotations

import os
import select
import socket
import time
from collections.abc import Collection, Mapping

from runtime.container.handshake import send
from runtime.container.side_programs import next_request
from runtime.container.spec import ProcessExit, World
from runtime.light_dataclasses import dataclass, field
from runtime.light_typing import Any

FAILED = ProcessExit(125, None)
"""What a rank came to that was alone, or lost its task."""

_ENDS_BY_ITSELF_WITHIN_S = 1.0
"""A rank that called MPI_Abort: its cluster ends the task at once."""


@dataclass(frozen=True, slots=True)
class RankTask:
    """What a task brings."""

    rank: int
    """Among those of this machine."""
    env: dict[str, str]
    fds: tuple[int, ...]
    fd_variables: tuple[str, ...]
    """Which of its variables say a descriptor's number."""
    if_silent: str
    """What a rank is told that never spoke."""

    def variables(self) -> dict[str, str]:
        """In the rank's process: its descriptors stay open for the program."""
        for fd in self.fds:
            os.set_inheritable(fd, True)
        return {**self.env, **dict(zip(self.fd_variables, map(str, self.fds), strict=True))}


@dataclass(slots=True)
class RankTasks:
    """Those of one container, each a connection."""

    absent: int
    """How many have not come."""
    came: dict[int, RankTask] = field(default_factory=dict)
    """By connection."""
    spoke: set[int] = field(default_factory=set)
    """Connections."""
    is_ending: bool = False
    """The ranks were asked to end: none is to begin, and none has to speak."""
    fail_at: float | None = None
    """When the ranks have failed whose tasks are gone or will not come, though they run."""

    def take(self, fd: int, said: Mapping[str, Any], fds: list[int]) -> RankTask | None:
        """The task that comes on connection *fd*, if that is what it has *said*, and not too late."""
        if "spoke" in said:
            self.spoke.add(fd)
            return None
        if "refused" in said:
            self._fail(said["refused"])
            return None
        if self.absent == 0:
            return None
        self.absent -= 1
        self.came[fd] = RankTask(said["rank"], said["env"], tuple(fds), tuple(said["fd_variables"]), said["if_silent"])
        return self.came[fd]

    def end(self) -> None:
        self.absent, self.is_ending, self.fail_at = 0, True, None

    def note_gone(self, fd: int, running: Collection[int]) -> None:
        """The task of connection *fd* is gone. Its rank may be about to end, too."""
        task = self.came.get(fd)
        if task is not None and task.rank in running and not self.is_ending:
            self._fail(f"the cluster has ended the task of rank {task.rank} of this node")

    def _fail(self, why: str) -> None:
        """Where ranks run, one may be about to say more by its exit code."""
        say(why)
        self.fail_at = self.fail_at or time.monotonic() + (0 if self.absent else _ENDS_BY_ITSELF_WITHIN_S)

    def have_failed(self) -> bool:
        return self.fail_at is not None and time.monotonic() >= self.fail_at

    def judge(self, rank: int, how: ProcessExit, connections: Mapping[int, socket.socket]) -> ProcessExit:
        """How *rank* ended; its task hears it, too."""
        fd, task = next((fd, task) for fd, task in self.came.items() if task.rank == rank)
        connection = connections.get(fd)
        if how.code == 0 and not self.is_ending and not self._has_spoken(fd, connection):
            say(task.if_silent)
            how = FAILED
        if connection is not None:
            send(connection, {"ended": {"code": how.code, "signal": how.signal}})
        return how

    def _has_spoken(self, fd: int, connection: socket.socket | None) -> bool:
        # A task says so before it passes the first word on, so that it is here by now.
        while connection is not None and fd not in self.spoke and select.select([connection], [], [], 0)[0]:
            message = next_request(connection)
            if message is None:
                break
            self.take(fd, message[0].get("task", {}), message[1])
        return fd in self.spoke


def say(words: str) -> None:
    """On the program's stderr."""
    os.write(2, f"launch: {words}\n".encode())


def rank_variables(rank: int, ranks: int, world: World, aliases: Collection[tuple[str, str]] = ()) -> dict[str, str]:
    """What torch.distributed's `env://` reads, for *rank* of this machine's *ranks*, and the same under other names; nothing for
    one that is alone."""
    if world.size == 1:
        return {}
    variables = {
        "RANK": str(world.first_rank + rank),
        "LOCAL_RANK": str(rank),
        "WORLD_SIZE": str(world.size),
        "LOCAL_WORLD_SIZE": str(ranks),
        "MASTER_ADDR": world.address,
        "MASTER_PORT": str(world.port),
    }
    return variables | {alias: variables[name] for alias, name in aliases}
