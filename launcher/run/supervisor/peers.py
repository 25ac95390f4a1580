"""The other nodes of a run, as its supervisor on the first one deals with them. How they are reached is the cluster's affair."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Protocol

from launcher.journal.status import Reason
from launcher.plan.program.environment import Rendezvous
from launcher.run.supervisor.attempt import Attempt, AttemptResult, StopRequest

if TYPE_CHECKING:
    from launcher.run.supervisor.run_experiment import Run


class Peers(Protocol):
    """Supervisors of one attempt on the run's further nodes; they end with the context that made this."""

    @property
    def rendezvous(self) -> Rendezvous: ...

    @property
    def fd(self) -> int:
        """Readable when one of them has said something; -1 when nobody is left to."""
        ...

    @property
    def all_ended(self) -> bool: ...

    def take_in(self) -> StopRequest | None:
        """What they have said; the end of one may demand that of all."""
        ...

    def next_look_s(self) -> float: ...

    def look(self) -> StopRequest | None:
        """Time has passed: whose silence is too long?"""
        ...

    def ask(self, reason: Reason) -> None:
        """Let their programs end: SIGTERM, `grace`, SIGKILL."""
        ...

    def kill(self) -> None: ...

    def verdict(self, own: Attempt, followed: AttemptResult) -> Attempt:
        """How the attempt ended on all nodes together, when it ended here as *own*."""
        ...


Joining = Callable[["Run", int], AbstractContextManager[Peers | None]]
"""Brings up the other nodes of a run, for the attempt of that number, and has tasks of the cluster come for its ranks where those
speak MPI; None when there is one node."""
