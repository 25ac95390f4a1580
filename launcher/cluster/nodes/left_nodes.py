"""Nodes of an earlier attempt that did not say that they ended: they may live on behind a broken network.

Each ends itself once it sees in the run's journal that its attempt is over (`link.py`). Where one does not say so in time, it
keeps the files that it has open, and the run goes on in copies (`launcher.cluster.placement.quarantine`).
"""

from __future__ import annotations

import time
from collections.abc import Sequence

from launcher.cluster.nodes.words import FENCE_S
from launcher.cluster.placement.quarantine import set_common_aside, set_own_aside
from launcher.journal import journal
from launcher.journal.fencing import TOKEN
from launcher.journal.status import Reason
from launcher.tracking.record.run_nodes import node_directories
from runtime.state_dir import RunDir

_OWN_END_WITHIN_S = 5 * FENCE_S
_LOOK_S = 0.1


def leave_behind(run_dir: RunDir, *, attempt: int, patience_s: float = _OWN_END_WITHIN_S) -> None:
    """See to it that no node of an attempt before *attempt* writes into the run any more, before its own are brought up."""
    events = journal.read(run_dir.journal)
    doubtful = [node for node in node_directories(run_dir)[1:] if not _was_ended_with_the_run(node, events)]
    deadline = time.monotonic() + patience_s
    while (left := [node for node in doubtful if not _says_over(node)]) and time.monotonic() < deadline:
        time.sleep(_LOOK_S)
    name = f"before-attempt-{attempt}"
    for node in left:
        set_own_aside(node, name)
        journal.append(
            run_dir.journal, "note", text=f"node {node.node} may still run an earlier attempt; what it writes is set aside"
        )
    if left:
        set_common_aside(run_dir, name)


def _was_ended_with_the_run(node: RunDir, events: Sequence[journal.Event]) -> bool:
    """Whether the cluster ended the job on nodes that answered, by the run's *events* since the node's placement began. What
    stands before those is of earlier placements, which may have ended well when this one did not."""
    placement = next((event.get(TOKEN) for event in reversed(journal.read(node.journal)) if event.name == "placed"), None)
    begins = [number for number, event in enumerate(events) if event.name == "placed" and event.get(TOKEN) == placement]
    since = events[begins[-1] :] if begins else []
    return any(event.name == "finished" and event.get("reason") != Reason.LOST for event in since)


def _says_over(node: RunDir) -> bool:
    """By its own journal: what the first node heard of its end (`left`) was written there before."""
    events = journal.since_resumed(journal.read(node.journal))
    return not events or any(event.name == "finished" for event in events)
