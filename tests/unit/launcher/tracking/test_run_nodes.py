"""The nodes of a run, out of its journal and its directory."""

from __future__ import annotations

import json

import pytest
from journal_lines import state_after

from launcher.errors import ConfigError
from launcher.tracking.metrics.samples import append_sample
from launcher.tracking.record.run_nodes import node_directories, node_words, on_node
from runtime.state_dir import RunDir

EVENTS = [
    ("placed", 1.0, {"placement": "17.0", "node": "n0", "host": "h0"}),
    ("queued", 1.0, {"facts": {"host": "h0", "kernel": "Linux 6", "cpu_flags": "many"}}),
    ("leased", 1.0, {"gpus": ["GPU-0"]}),
    ("joined", 2.0, {"node": 1, "about": {"name": "n1", "host": "h1", "gpus": ["GPU-1"], "kernel": "Linux 6"}}),
]


def test_a_run_of_ones_own_machine_has_no_nodes(tmp_path):
    assert {} == state_after(tmp_path, *EVENTS[1:3]).nodes


def test_nodes_are_named_with_host_gpus_and_kernel(tmp_path):
    assert {
        0: {"node": 0, "name": "n0", "host": "h0", "gpus": ["GPU-0"], "kernel": "Linux 6"},
        1: {"node": 1, "name": "n1", "host": "h1", "gpus": ["GPU-1"], "kernel": "Linux 6"},
    } == state_after(tmp_path, *EVENTS).nodes


def test_a_node_that_ended_says_how(tmp_path):
    left = ("left", 3.0, {"node": 1, "ending": {"reason": "program", "exit_code": 7, "message": None}})
    first = state_after(tmp_path, *EVENTS, left).nodes[1]
    assert ("program", 7) == (first["reason"], first["exit_code"])


def test_many_nodes_are_counted():
    assert "n0, n1" == node_words([{"node": 0, "name": "n0"}, {"node": 1, "name": "n1"}])
    assert "n0, n1, … (9 nodes)" == node_words([{"node": number, "name": f"n{number}"} for number in range(9)])


def test_a_node_that_the_run_has_not_is_refused(tmp_path):
    run_dir = RunDir(tmp_path / "abc")
    for node in (1, 10, 2):
        run_dir.on_node(node).place.mkdir(parents=True)
    assert [0, 1, 2, 10] == [each.node for each in node_directories(run_dir)]
    with pytest.raises(ConfigError, match="run `abc` has no node 3"):
        on_node(run_dir, 3)


@pytest.mark.parametrize(("nodes", "name"), [(1, "cpu"), (2, "node_1/cpu")])
def test_samples_of_several_nodes_carry_their_nodes_name(tmp_path, nodes, name):
    run_dir = RunDir(tmp_path, node=1)
    run_dir.place.mkdir(parents=True)
    append_sample(run_dir, 1.0, {"cpu": 5.0}, nodes=nodes)
    assert {"time": 1.0, name: 5.0} == json.loads(run_dir.system_metrics.read_text())
