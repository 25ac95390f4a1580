"""Of several ends the one that counts."""

from __future__ import annotations

from launcher.cluster.nodes.verdict import EndRequest, NodeEnd, verdict
from launcher.journal.status import Reason
from launcher.run.supervisor.outcome import ExitOutcome

DONE = ExitOutcome(0, None, Reason.COMPLETED)
STOPPED = ExitOutcome(143, 15, Reason.STOPPED)


def failed(code):
    return ExitOutcome(code, None, Reason.PROGRAM)


def end(node, outcome, at, *, was_asked=False):
    return NodeEnd(f"node {node} (`n{node}`)", outcome, at, was_asked)


def test_all_that_complete_are_complete():
    assert DONE == verdict([end(0, DONE, 1.0), end(1, DONE, 2.0)], None)


def test_who_failed_first_is_to_blame_wherever_that_was():
    found = verdict([end(0, failed(1), 2.0), end(1, failed(7), 1.9), end(2, failed(1), 2.1)], None)
    assert (7, Reason.PROGRAM) == (found.exit_code, found.reason)
    assert "node 1 (`n1`): its program ended with exit code 7" == found.detail


def test_who_was_asked_to_end_is_not_to_blame():
    told = ExitOutcome(143, 15, Reason.PROGRAM)
    assert 7 == verdict([end(0, told, 1.0, was_asked=True), end(1, failed(7), 3.0)], None).exit_code


def test_a_stop_is_a_stop_whatever_the_programs_made_of_it():
    request = EndRequest(Reason.STOPPED, 5.0)
    assert STOPPED == verdict([end(0, STOPPED, 6.0, was_asked=True), end(1, failed(1), 6.0)], request)


def test_a_stop_that_comes_after_a_failure_changes_nothing():
    assert 7 == verdict([end(0, STOPPED, 6.0, was_asked=True), end(1, failed(7), 4.0)], EndRequest(Reason.STOPPED, 5.0)).exit_code


def test_a_stop_counts_when_the_first_node_was_through_before():
    assert STOPPED == verdict([end(0, DONE, 1.0), end(1, STOPPED, 6.0, was_asked=True)], EndRequest(Reason.STOPPED, 5.0))


def test_a_lost_node_is_lost_and_the_machine_to_blame():
    lost = ExitOutcome(125, None, Reason.LOST, "its job step has ended", of_the_machine=True)
    found = verdict([end(0, STOPPED, 6.0, was_asked=True), end(1, lost, 4.0)], None)
    assert (Reason.LOST, True) == (found.reason, found.is_worth_a_retry())
    assert "node 1 (`n1`): its job step has ended" == found.detail
