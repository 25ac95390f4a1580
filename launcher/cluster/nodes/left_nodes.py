"""Nodes of an earlier attempt that did not say that they ended: they may live on behind a broken network.

Each ends itself once it sees in the run's journal that its attempt is over (`link.py`). Where one does not say so in time, it
keeps the files that it has open, and the run goes on in copies (`launcher.cluster.set_aside`).
"""

from __future__ import annotations

import time
from collections.abc import Sequence

from launcher.cluster.nodes.words import FENCE_S
from launcher.cluster.set_aside import set_common_aside, set_own_aside
from launcher.tracking import journal
from launcher.tracking.run_nodes import node_directories
from launcher.tracking.status import Reason
from runtime.state_dir import RunDir

_OWN_END_WITHIN_S = 5 * FENCE_S
_LOOK_S = 0.1


def leave_behind(run_dir: RunDir, *, attempt: int, patience_s: float = _OWN_END_WITHIN_S) -> None:
    """See to it that no node of an attempt before *attempt* writes into the run any more, before its own are brought up."""
    events = journal.read(run_dir.journal)
    doubtful = [node for node in node_directories(run_dir)[1:] if not _was_ended(node, events)]
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


def _was_ended(node: RunDir, events: Sequence[journal.Event]) -> bool:
    """Whether the run's *events* leave no doubt: the node said so there, or the cluster ended the job on nodes that answered."""
    left = next((event for event in reversed(events) if event.name == "left" and event.get("node") == node.node), None)
    if left is not None:
        return bool(left.fields["ending"]["reason"] != Reason.LOST)
    finished = next((event for event in reversed(events) if event.name == "finished"), None)
    return finished is not None and finished.get("reason") != Reason.LOST


def _says_over(node: RunDir) -> bool:
    events = journal.since_resumed(journal.read(node.journal))
    return not events or any(event.name == "finished" for event in events)
