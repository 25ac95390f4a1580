"""Who had a run before this placement of it, and what has to be done so that it cannot write into it any more."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Sequence
from dataclasses import dataclass

from launcher.cluster.kill_placement import kill_placement
from launcher.cluster.set_aside import is_said_over, set_aside
from launcher.run.acquisitions import undo_all
from launcher.tracking import journal
from launcher.tracking.fencing import TOKEN
from launcher.tracking.status import Reason
from runtime.state_dir import RunDir

OWN_END_WITHIN_S = 5.0
"""How long a predecessor may take to see that it is superseded, to end itself and to say so: it looks twice a second."""

_LOOK_S = 0.05

_IN_THE_RUNS_DIRECTORY = ("overlay", "outputs")
"""What a placement has acquired and leaves to the next one; the rest is its node's, and it gives that back itself."""


@dataclass(frozen=True, slots=True)
class Predecessor:
    """The placement that had the run last."""

    placement: str
    node: str
    attempt: int
    events: tuple[journal.Event, ...]
    """From its `placed` on."""

    @property
    def is_over(self) -> bool:
        """Whether nothing of it is left: it has said its last word, or the cluster has ended it on a node that answered."""
        return any(
            (event.name == "attempt" and event.get("requeued"))
            or (event.name == "finished" and (event.get(TOKEN) or event.get("reason") != Reason.LOST))
            for event in self.events
        )

    @property
    def is_open(self) -> bool:
        """Whether its attempt is, in the journal."""
        return not any(event.name == "finished" or event.get("requeued") for event in self.events)


def predecessor_of(events: Sequence[journal.Event]) -> Predecessor | None:
    """The run's last placement, in whichever of its lives, by the *events* before ours; None when it never had one."""
    placed = max((number for number, event in enumerate(events) if event.name == "placed"), default=None)
    if placed is None:
        return None
    its = tuple(events[placed:])
    numbers = [event.get("attempt") for event in its if event.name in ("placed", "started")]
    return Predecessor(str(its[0].get(TOKEN)), str(its[0].get("node")), int(numbers[-1] or 1), its)


def this_node() -> str:
    """The machine by its name in the cluster."""
    return os.environ.get("SLURMD_NODENAME") or socket.gethostname()


def succeed(run_dir: RunDir, before: Predecessor) -> None:
    """Our `placed` stands in the journal: see to it that nothing of *before* reaches the run's files, and close its attempt."""
    if not before.is_over and not _has_ended(run_dir, before):
        set_aside(run_dir, before.placement)
    if before.is_open:
        journal.append(
            run_dir.journal,
            "attempt",
            attempt=before.attempt,
            reason=str(Reason.LOST),
            exit_code=125,
            message=f"the job has begun again: its node `{before.node}` was lost, or it was ended there before it could say why",
        )


def _has_ended(run_dir: RunDir, before: Predecessor) -> bool:
    """Whether nothing of it is left: here, since we end it; elsewhere, when it says so itself."""
    if before.node == this_node():
        kill_placement(before.events)
        undo_all(run_dir)
        return True
    deadline = time.monotonic() + OWN_END_WITHIN_S
    while time.monotonic() < deadline:
        if is_said_over(run_dir, before.placement):
            undo_all(run_dir, kinds=_IN_THE_RUNS_DIRECTORY)
            return True
        time.sleep(_LOOK_S)
    return False
