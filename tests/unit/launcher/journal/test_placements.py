"""What a run's journal says of its placements on a cluster."""

from __future__ import annotations

import pytest

from launcher.journal.events import Acquired, AttemptEnded, Created, Finished, Note, Placed, Resumed, Started, Submitted
from launcher.journal.run_journal import Journal, read_state


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "journal.jsonl"
    for event in (Created("abc123"), Submitted("slurm", "17")):
        Journal(path).append(event)
    return path


def write(path, token, *events):
    for event in events:
        Journal(path, token).append(event)


def test_each_placement_has_what_its_own_processes_did(path):
    write(path, "17.0", Placed(job="17", node="n1", attempt=1, pid=5), Acquired("cgroup", "c"), Started(1, init_pid=6))
    write(path, "17.1", Placed(job="17", node="n2", attempt=2))
    state = read_state(path)
    first, second = state.placements
    assert ("n1", 1, 5, 6, [Acquired("cgroup", "c")]) == (
        first.node,
        first.attempt,
        first.placed.pid,
        first.started.init_pid,
        first.acquired,
    )
    assert ("n2", 2, None, []) == (second.node, second.attempt, second.started, second.acquired)
    assert "17.1" == state.placement
    assert state.placement_of("17.0") is first
    assert state.placement_of("18.0") is None


def test_of_several_of_one_name_the_last_is_meant(path):
    """Of a further node, whose journal has a life for each attempt in the same job."""
    for pid in (5, 7):
        write(path, None, Resumed(), Submitted("slurm", "17"))
        write(path, "17.0", Placed(job="17", pid=pid))
    assert 7 == read_state(path).placement_of("17.0").placed.pid


@pytest.mark.parametrize(
    ("token", "event", "is_over", "is_open"),
    [
        pytest.param("17.0", AttemptEnded(1, "preempted", requeued=True), True, False, id="requeued"),
        pytest.param("17.0", AttemptEnded(1, "gpu_lost"), False, True, id="tried again in its place"),
        pytest.param("17.0", Finished("lost"), True, False, id="its own last word"),
        pytest.param(None, Finished("lost"), False, False, id="closed from outside, since its node was lost"),
        pytest.param(None, Finished("stopped"), True, False, id="closed from outside"),
        pytest.param("17.0", Note("x"), False, True, id="goes on"),
    ],
)
def test_a_placement_is_over_by_its_own_word_or_by_that_of_a_cluster_that_reached_it(path, token, event, is_over, is_open):
    write(path, "17.0", Placed(job="17"))
    write(path, token, event)
    (placement,) = read_state(path).placements
    assert (is_over, is_open) == (placement.is_over, placement.is_open)
