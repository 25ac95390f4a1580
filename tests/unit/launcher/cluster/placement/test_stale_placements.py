"""What a placement of a run does about those before it (`stale_placements.py`), and what an attempt's end on a cluster means."""

from __future__ import annotations

import json
import os

import pytest

from launcher.cluster.engine import JobPhase, JobStatus
from launcher.cluster.placement.quarantine import record_end, superseded_dir
from launcher.cluster.placement.requeue_check import decision_in
from launcher.cluster.placement.stale_placements import take_ownership
from launcher.journal.events import Created, Submitted
from launcher.journal.run_journal import Journal, read_state


@pytest.fixture
def run_dir(run_dir):
    run_dir.outputs.mkdir()
    run_dir.checkpoints.mkdir()
    run_dir.stdout.write_text("said\n")
    journal = Journal(run_dir.journal)
    journal.append(Created(run_dir.run_id, "x", host="login"))
    journal.append(Submitted("slurm", "17"))
    return run_dir


@pytest.fixture(autouse=True)
def node(monkeypatch):
    monkeypatch.setenv("SLURMD_NODENAME", "here")


def write(run_dir, event, placement=None, **fields):
    token = {} if placement is None else {"placement": placement}
    with run_dir.journal.open("a") as file:
        file.write(json.dumps({"event": event, "at": 1.0, **fields, **token}) + "\n")


def lost(run_dir, placement="17.0", attempt=1, node="gone"):
    write(run_dir, "placed", placement, node=node, attempt=attempt)
    write(run_dir, "started", placement, attempt=attempt)


def placed_again(run_dir, placement="17.1"):
    """As `job.py` does it."""
    journal = Journal(run_dir.journal, placement)
    before = journal.read()
    write(run_dir, "placed", placement, node="here", attempt=2)
    take_ownership(run_dir, journal, before, patience_s=0.2)


def is_apart(run_dir, placement="17.0"):
    return superseded_dir(run_dir, placement).joinpath("stdout.log").exists()


def test_who_may_live_keeps_its_files_and_the_run_goes_on_in_copies(run_dir):
    lost(run_dir)
    (run_dir.checkpoints / "state").write_text("5")
    with run_dir.stdout.open("a") as log, (run_dir.checkpoints / "state").open("a") as checkpoint:
        placed_again(run_dir)
        log.write("too late\n")
        checkpoint.write("999")
    assert "said\n" == run_dir.stdout.read_text()
    assert "5" == (run_dir.checkpoints / "state").read_text()
    assert "said\ntoo late\n" == (superseded_dir(run_dir, "17.0") / "stdout.log").read_text()
    state = read_state(run_dir.journal)
    assert [(1, "lost")] == [(ended.attempt, ended.reason) for ended in state.ended_attempts]
    assert 2 == state.next_attempt


def test_who_says_that_it_is_over_is_believed_and_nothing_is_copied(run_dir):
    lost(run_dir)
    record_end(run_dir, "17.0")
    placed_again(run_dir)
    assert not is_apart(run_dir)


@pytest.mark.parametrize(
    ("word", "waits"),
    [
        pytest.param(("attempt", "17.0", {"attempt": 1, "reason": "preempted", "requeued": True}), False, id="its own word"),
        pytest.param(("attempt", "17.0", {"attempt": 1, "reason": "gpu_lost"}), True, id="a retry in its own place is none"),
        pytest.param(("note", "17.0", {"text": "x"}), True, id="any other event is none"),
    ],
)
def test_a_last_word_of_its_own_is_enough(run_dir, word, waits):
    lost(run_dir)
    name, placement, fields = word
    write(run_dir, name, placement, **fields)
    placed_again(run_dir)
    assert waits is is_apart(run_dir)


@pytest.mark.parametrize(("reason", "waits"), [("lost", True), ("stopped", False), ("timeout", False)])
def test_a_life_that_was_closed_from_outside_is_over_unless_its_node_was_lost(run_dir, reason, waits):
    lost(run_dir)
    write(run_dir, "finished", reason=reason)
    write(run_dir, "resumed")
    write(run_dir, "submitted", engine="slurm", job="18")
    placed_again(run_dir, "18.0")
    assert waits is is_apart(run_dir)
    assert [] == read_state(run_dir.journal).ended_attempts


def test_one_that_was_lost_before_it_had_dealt_with_the_first_leaves_that_to_the_next(run_dir):
    lost(run_dir, "17.0")
    write(run_dir, "placed", "17.1", node="gone too", attempt=2)
    record_end(run_dir, "17.1")
    placed_again(run_dir, "17.2")
    assert is_apart(run_dir, "17.0")


def test_what_was_dealt_with_once_is_not_waited_for_again(run_dir):
    lost(run_dir, "17.0")
    placed_again(run_dir, "17.1")
    write(run_dir, "attempt", "17.1", attempt=2, reason="preempted", requeued=True)
    placed_again(run_dir, "17.2")
    assert not is_apart(run_dir, "17.1")
    assert {"17.0"} == read_state(run_dir.journal).superseded


def test_on_the_same_node_the_first_copy_is_killed_and_nothing_is_copied(run_dir):
    living = os.posix_spawn("/bin/sleep", ["sleep", "60"], {})
    from runtime.kernel.process_identity import process_started

    pid = {"pid": living, "pid_started": process_started(living)}
    write(run_dir, "placed", "17.0", node="here", attempt=1, **pid)
    placed_again(run_dir)
    assert 9 == os.waitstatus_to_exitcode(os.waitpid(living, 0)[1]) * -1
    assert not is_apart(run_dir)


def test_an_index_that_was_cut_in_the_middle_of_a_record_goes_on_at_a_whole_one(run_dir):
    lost(run_dir)
    run_dir.output_index.write_bytes(b"x" * 21)
    placed_again(run_dir)
    assert 16 == run_dir.output_index.stat().st_size


@pytest.mark.parametrize(
    ("status", "requeues"),
    [
        pytest.param(JobStatus("17", JobPhase.RUNNING), False, id="it runs: somebody asked us alone"),
        pytest.param(JobStatus("17", JobPhase.ENDING), False, id="scancel"),
        pytest.param(JobStatus("17", JobPhase.ENDING, attempt=2), True, id="requeued, and not pending yet"),
        pytest.param(JobStatus("17", JobPhase.PENDING, attempt=2), True, id="pending again"),
        pytest.param(JobStatus("17", JobPhase.RUNNING, attempt=2), True, id="begun again already"),
    ],
)
def test_whether_a_job_begins_again_is_seen_by_its_restarts(status, requeues):
    assert requeues is decision_in(status, restarts=0).requeues
