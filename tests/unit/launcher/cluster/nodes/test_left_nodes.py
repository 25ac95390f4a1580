"""A node that did not say that it ended keeps its files; the run has others."""

from __future__ import annotations

import pytest
from journal_lines import read_lines, write_event

from launcher.cluster.nodes.left_nodes import leave_behind
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
        write_event(each.journal, "placed", host="x", job="7")
    return found


def test_a_node_that_may_live_writes_beside_the_run(run_dir):
    node = run_dir.on_node(1)
    with node.stdout.open("a") as log, (run_dir.checkpoints / "last").open("a") as checkpoint:
        leave_behind(run_dir, attempt=2, patience_s=0.0)
        log.write("of yesterday\n")
        checkpoint.write(" of yesterday")
    assert "step 3\n" == node.stdout.read_text()
    assert "step 3" == (run_dir.checkpoints / "last").read_text()
    assert "what it writes is set aside" in read_lines(run_dir.journal)[-1].get("text")


@pytest.mark.parametrize(
    ("where", "event", "fields"),
    [
        pytest.param(1, "finished", {"reason": "stopped"}, id="its own word"),
        pytest.param(0, "finished", {"reason": "stopped"}, id="the cluster's, of the whole job"),
    ],
)
def test_a_node_that_ended_leaves_everything_where_it_is(run_dir, where, event, fields):
    write_event(run_dir.on_node(where).journal, event, **fields)
    leave_behind(run_dir, attempt=2, patience_s=0.0)
    assert [] == [*run_dir.root.glob("**/superseded")]


@pytest.mark.parametrize("word", ["left", "finished"])
def test_the_end_of_an_earlier_attempt_says_nothing_of_a_later_one(run_dir, word):
    """The first ended well and went on elsewhere, where the first node's machine was lost: nobody knows of the others."""
    node = run_dir.on_node(1)
    write_event(node.journal, "finished", reason="stopped")
    said = {"left": {"node": 1, "ending": {"reason": "stopped"}}, "finished": {"reason": "stopped"}}
    write_event(run_dir.journal, word, **said[word])
    for each in (run_dir, node):
        write_event(each.journal, "resumed")
        write_event(each.journal, "placed", host="y", job="8", placement="8.0")
    leave_behind(run_dir, attempt=3, patience_s=0.0)
    assert [node.place / "superseded"] == [*node.place.glob("superseded")]


def test_a_lost_node_is_asked_itself(run_dir):
    write_event(run_dir.journal, "left", node=1, ending={"reason": "lost"})
    write_event(run_dir.journal, "finished", reason="lost")
    write_event(run_dir.on_node(1).journal, "finished", reason="stopped")
    leave_behind(run_dir, attempt=2, patience_s=0.0)
    assert [] == [*run_dir.root.glob("**/superseded")]
