"""Placements that had a run before this one, and what has to be done so that none of them can write into it any more.

Not the last one alone: that may have been lost before it had done this for the one before it.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

from launcher.cluster.placement.kill_placement import kill_placement
from launcher.cluster.placement.quarantine import has_recorded_end, quarantine
from launcher.cluster.slurm.own_job import this_node
from launcher.journal.events import AttemptEnded, Note
from launcher.journal.placement import Placement
from launcher.journal.run_journal import Journal
from launcher.journal.run_state import RunState
from launcher.journal.status import Reason
from launcher.run.supervisor.acquisitions import undo_all
from runtime.state_dir import RunDir

_OWN_END_WITHIN_S = 5.0
"""How long a stale placement may take to see that it is superseded, to end itself and to record that: its watchdog looks twice a
second."""

_LOOK_S = 0.05

_IN_THE_RUNS_DIRECTORY = ("overlay", "outputs")
"""What a placement has acquired and leaves to the next one; the rest is its node's, and it gives that back itself."""


def take_ownership(run_dir: RunDir, journal: Journal, before: RunState, *, patience_s: float = _OWN_END_WITHIN_S) -> None:
    """Our `placed` stands in *journal*: keep the placements that had the run *before* it from the run's files, and close the
    attempt of the last."""
    stale = [each for each in before.placements if not each.is_over and each.token not in before.superseded]
    if living := _end(stale, run_dir, patience_s=patience_s):
        quarantine(run_dir, living[-1].token)
    if stale:
        journal.append(Note(superseded=tuple(each.token for each in stale)))
    if before.placements and before.placements[-1].is_open:
        _close_attempt(journal, before.placements[-1])


def _close_attempt(journal: Journal, last: Placement) -> None:
    why = f"the job has begun again: its node `{last.node}` was lost, or it was ended there before it could say why"
    journal.append(AttemptEnded(last.attempt, str(Reason.LOST), 125, why))


def _end(stale: Sequence[Placement], run_dir: RunDir, *, patience_s: float) -> list[Placement]:
    """Those of which something may live: ended on our node by us, they don't; elsewhere they end themselves, and record that."""
    here = [each for each in stale if each.node == this_node()]
    for each in here:
        kill_placement(each)
        undo_all(run_dir, each.acquired)
    living = [each for each in stale if each not in here]
    deadline = time.monotonic() + patience_s
    while living and time.monotonic() < deadline:
        time.sleep(_LOOK_S)
        for each in [each for each in living if has_recorded_end(run_dir, each.token)]:
            undo_all(run_dir, each.acquired, kinds=_IN_THE_RUNS_DIRECTORY)
            living.remove(each)
    return living
