"""Who had a run before this placement of it, and what has to be done so that none of them can write into it any more.

Not the last one alone: that may have been lost before it had done this for the one before it.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from launcher.cluster.placement.kill_placement import kill_placement
from launcher.cluster.placement.quarantine import is_said_over, set_aside
from launcher.cluster.slurm.own_job import this_node
from launcher.journal import journal
from launcher.journal.events import Acquired
from launcher.journal.fencing import TOKEN
from launcher.journal.status import Reason
from launcher.run.supervisor.acquisitions import undo_all
from runtime.state_dir import RunDir

OWN_END_WITHIN_S = 5.0
"""How long a predecessor may take to see that it is superseded, to end itself and to say so: it looks twice a second."""

_LOOK_S = 0.05

_IN_THE_RUNS_DIRECTORY = ("overlay", "outputs")
"""What a placement has acquired and leaves to the next one; the rest is its node's, and it gives that back itself."""


@dataclass(frozen=True, slots=True)
class Predecessor:
    """A placement that had the run."""

    placement: str
    node: str
    attempt: int
    events: tuple[journal.Event, ...]
    """From its `placed` to the next one's."""

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


def predecessors(events: Sequence[journal.Event]) -> list[Predecessor]:
    """The run's placements, in all of its lives, by the *events* before our own."""
    begins = [number for number, event in enumerate(events) if event.name == "placed"]
    return [_placement(events[begin:end]) for begin, end in pairwise([*begins, len(events)])]


def _placement(events: Sequence[journal.Event]) -> Predecessor:
    placed = events[0]
    numbers = [event.get("attempt") for event in events if event.name in ("placed", "started")]
    return Predecessor(str(placed.get(TOKEN)), str(placed.get("node")), int(numbers[-1] or 1), tuple(events))


def succeed(run_dir: RunDir, earlier: Sequence[Predecessor]) -> None:
    """Our `placed` stands in the journal: keep those *earlier* from the run's files, and close the attempt of the last."""
    dealt_with = {placement for each in earlier for event in each.events for placement in event.get("superseded", ())}
    open_ones = [each for each in earlier if not each.is_over and each.placement not in dealt_with]
    if left := _left_after_waiting(run_dir, open_ones):
        set_aside(run_dir, left[-1].placement)
    if open_ones:
        journal.append(run_dir.journal, "note", superseded=[each.placement for each in open_ones])
    if earlier and earlier[-1].is_open:
        _close_attempt(run_dir, earlier[-1])


def _close_attempt(run_dir: RunDir, last: Predecessor) -> None:
    journal.append(
        run_dir.journal,
        "attempt",
        attempt=last.attempt,
        reason=str(Reason.LOST),
        exit_code=125,
        message=f"the job has begun again: its node `{last.node}` was lost, or it was ended there before it could say why",
    )


def _left_after_waiting(run_dir: RunDir, open_ones: Sequence[Predecessor]) -> list[Predecessor]:
    """Those of which something may live: ended on our node by us, they don't; elsewhere they end themselves, and say so."""
    here = [each for each in open_ones if each.node == this_node()]
    for each in here:
        kill_placement(each.events)
        undo_all(run_dir, _acquired(each.events))
    left = [each for each in open_ones if each not in here]
    deadline = time.monotonic() + OWN_END_WITHIN_S
    while left and time.monotonic() < deadline:
        time.sleep(_LOOK_S)
        for each in [each for each in left if is_said_over(run_dir, each.placement)]:
            undo_all(run_dir, _acquired(each.events), kinds=_IN_THE_RUNS_DIRECTORY)
            left.remove(each)
    return left


def _acquired(events: Sequence[journal.Event]) -> list[Acquired]:
    return [Acquired(event.fields["kind"], event.fields["name"]) for event in events if event.name == "acquired"]
