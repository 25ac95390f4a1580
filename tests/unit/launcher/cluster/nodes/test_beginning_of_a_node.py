"""How the journal of a further node begins."""

from __future__ import annotations

import os

from launcher.cluster.nodes.node import _begin
from launcher.journal.events import Placed, Resumed, Submitted
from launcher.journal.placement import Job
from launcher.journal.run_journal import Follower, Journal
from launcher.run.start.create_run import new_run_dir
from runtime.state_dir import StateDir


def begun(node, placement):
    """In a process of its own, whose events are signed from then on."""
    pid = os.fork()
    if pid == 0:
        try:
            _begin(node, placement)
            os._exit(0)
        finally:
            os._exit(1)
    assert 0 == os.waitpid(pid, 0)[1]


def test_it_is_in_the_hands_of_the_engine_that_has_the_run(tmp_path):
    run_dir = new_run_dir(StateDir(tmp_path).ensure())
    Journal(run_dir.journal).append(Submitted("another", "17"))
    node = run_dir.on_node(1)
    node.place.mkdir(parents=True)
    for _ in range(2):
        begun(node, "17.0")
    journal = Follower(node.journal)
    assert [Submitted, Placed, Resumed, Submitted, Placed] == [type(entry.event) for entry in journal.new_entries()]
    assert (Job("another", "17"), "17.0") == (journal.state.job, journal.state.placement)
