"""A node that did not say that it ended keeps its files; the run has others."""

from __future__ import annotations

import pytest

from launcher.cluster.nodes.step import quarantine_earlier_nodes
from launcher.journal.events import Finished, NodeEnded, Placed, Resumed
from launcher.journal.run_journal import Journal, read_state
from runtime.state_dir import RunDir


@pytest.fixture
def run_dir(tmp_path):
    found = RunDir(tmp_path / "runs" / "abc123")
    node = found.on_node(1)
    node.place.mkdir(parents=True)
    for directory in (found.outputs, found.checkpoints):
        directory.mkdir()
    (found.checkpoints / "last").write_text("step 3")
    node.stdout.write_text("step 3\n")
    for each in (found, node):
        Journal(each.journal, "7.0").append(Placed(job="7", host="x"))
    return found


def bring_up(run_dir, *, attempt=2):
    quarantine_earlier_nodes(run_dir, Journal(run_dir.journal, "7.0"), attempt=attempt, patience_s=0.0)


def test_a_node_that_may_live_writes_beside_the_run(run_dir):
    node = run_dir.on_node(1)
    with node.stdout.open("a") as log, (run_dir.checkpoints / "last").open("a") as checkpoint:
        bring_up(run_dir)
        log.write("of yesterday\n")
        checkpoint.write(" of yesterday")
    assert "step 3\n" == node.stdout.read_text()
    assert "step 3" == (run_dir.checkpoints / "last").read_text()
    assert "what it writes is kept apart from the run" in read_state(run_dir.journal).notes[-1]


@pytest.mark.parametrize(
    ("where", "token"),
    [
        pytest.param(1, "7.0", id="its own word"),
        pytest.param(0, None, id="the cluster's, of the whole job"),
    ],
)
def test_a_node_that_ended_leaves_everything_where_it_is(run_dir, where, token):
    Journal(run_dir.on_node(where).journal, token).append(Finished("stopped"))
    bring_up(run_dir)
    assert [] == [*run_dir.root.glob("**/superseded")]


@pytest.mark.parametrize("word", [NodeEnded(1, {"reason": "stopped"}), Finished("stopped")], ids=["left", "finished"])
def test_the_end_of_an_earlier_attempt_says_nothing_of_a_later_one(run_dir, word):
    """The first ended well and went on elsewhere, where the first node's machine was lost: nobody knows of the others."""
    node = run_dir.on_node(1)
    Journal(node.journal, "7.0").append(Finished("stopped"))
    Journal(run_dir.journal, "7.0").append(word)
    for each in (run_dir, node):
        Journal(each.journal).append(Resumed())
        Journal(each.journal, "8.0").append(Placed(job="8", host="y"))
    bring_up(run_dir, attempt=3)
    assert [node.place / "superseded"] == [*node.place.glob("superseded")]


def test_a_lost_node_is_asked_itself(run_dir):
    Journal(run_dir.journal, "7.0").append(NodeEnded(1, {"reason": "lost"}))
    Journal(run_dir.journal, "7.0").append(Finished("lost"))
    Journal(run_dir.on_node(1).journal, "7.0").append(Finished("stopped"))
    bring_up(run_dir)
    assert [] == [*run_dir.root.glob("**/superseded")]
