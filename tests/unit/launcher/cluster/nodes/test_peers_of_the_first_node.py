"""What the first node makes of what the others say. The step is a program of this machine that says the words of srun's tasks."""

from __future__ import annotations

import json
import select
import subprocess
import sys
import time

import pytest

from launcher.cluster.nodes.messages import Kind, encode, to_document
from launcher.cluster.nodes.peers import StepPeers, _Node
from launcher.journal.events import Finished, NodeEnded, NodeJoined, Paused, Resumed
from launcher.journal.run_journal import Follower, Journal
from launcher.journal.status import Reason
from launcher.plan.program.environment import Rendezvous
from launcher.run.supervisor.attempt import Attempt, AttemptResult, StopRequest
from launcher.run.supervisor.outcome import ExitOutcome
from runtime.cgroup.limits import Usage
from runtime.container.spec import ProcessExit

ECHO = "import sys; sys.stdout.write({said!r}); sys.stdout.flush(); sys.stdin.read()"
DONE = to_document(ExitOutcome(0, None, Reason.COMPLETED))


def ended(node, outcome, *, at):
    return encode(node, Kind.ENDED, outcome=outcome, at=at, was_asked=False)


@pytest.fixture
def peers(run_dir):
    """Makes the peers of a run on *size* nodes whose step says *words*."""
    made = []

    def make(*words: bytes, size=2, silent_since=float("inf"), script=ECHO):
        said = b"".join(words).decode()
        step = subprocess.Popen(
            [sys.executable, "-c", script.format(said=said)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        nodes = {node: _Node(node, silent_since, Follower(run_dir.on_node(node).journal)) for node in range(1, size)}
        journal, rendezvous = Journal(run_dir.journal), Rendezvous(0, size, "127.0.0.1", 9)
        made.append(StepPeers(run_dir, journal, rendezvous, step, nodes, step.stdout.fileno(), Follower(run_dir.journal)))
        return made[-1]

    yield make
    for each in made:
        each.step.kill()
        each.close()


def heard(peers):
    """Everything that they say until they wait."""
    demand, wait_s = None, 10.0  # a busy machine takes its time to start Python
    while peers.fd >= 0 and select.select([peers.fd], [], [], wait_s)[0]:
        demand = peers.take_in() or demand
        wait_s = 0.5 if demand is None else 0.0
    return demand


def events(run_dir):
    return [entry.event for entry in Follower(run_dir.journal).new_entries()]


def test_a_node_that_joins_and_completes_is_in_the_journal(peers, run_dir):
    found = peers(
        encode(1, Kind.HERE, name="n1", host="h1", at=time.time()),
        encode(1, Kind.JOINED, about={"host": "h1", "gpus": ["GPU-1"]}),
        ended(1, DONE, at=time.time()),
    )
    assert heard(found) is None
    assert found.all_ended
    joined, node_ended = events(run_dir)
    assert isinstance(joined, NodeJoined)
    assert isinstance(node_ended, NodeEnded)
    assert ("n1", ["GPU-1"]) == (joined.about["name"], joined.about["gpus"])
    assert "completed" == node_ended.ending["reason"]


def test_what_a_node_takes_from_its_machine_is_the_runs(peers, run_dir):
    heard(peers(encode(1, Kind.SAMPLE, sample={"time": 1.0, "node_1/cpu_utilization_percentage": 5.0})))
    assert 5.0 == json.loads(run_dir.system_metrics.read_text())["node_1/cpu_utilization_percentage"]


def test_a_program_that_fails_elsewhere_demands_the_end_of_all_and_is_the_outcome(peers):
    failed = to_document(ExitOutcome(7, None, Reason.PROGRAM))
    found = peers(encode(1, Kind.HERE, name="n1", host="h", at=time.time()), ended(1, failed, at=9.0))
    demand = heard(found)
    assert StopRequest(Reason.PROGRAM, "node 1 (`n1`): its program ended with exit code 7") == demand
    found.ask(demand.reason)
    own = Attempt(ExitOutcome(143, 15, Reason.PROGRAM, demand.detail), Usage())
    followed = AttemptResult(ProcessExit(None, 15, at=10.0), Reason.PROGRAM, demand.detail, for_peers=True)
    assert (7, None) == (found.verdict(own, followed).outcome.exit_code, found.request)


def test_clocks_that_differ_do_not_change_who_was_first(peers):
    ahead = 100.0
    failed = to_document(ExitOutcome(7, None, Reason.PROGRAM))
    now = time.time()
    found = peers(
        encode(1, Kind.HERE, name="n1", host="h", at=now + ahead),
        ended(1, failed, at=now + ahead - 5.0),
    )
    heard(found)
    own = Attempt(ExitOutcome(1, None, Reason.PROGRAM), Usage())
    assert 7 == found.verdict(own, AttemptResult(ProcessExit(1, None, at=now), None)).outcome.exit_code


def test_a_step_that_ends_without_a_word_loses_its_nodes_with_sruns_words(peers):
    found = peers(b"srun: error: Unable to create step for job 7\n", script="import sys; sys.stdout.write({said!r})")
    demand = heard(found)
    assert (Reason.LOST, "node 1: its job step has ended: Unable to create step for job 7") == (demand.reason, demand.detail)
    assert found.all_ended


def test_long_words_of_two_nodes_that_come_mixed_are_understood(peers, run_dir):
    """Slurm hands them on in parts of a kilobyte, one node's between another's."""
    flags = " ".join(f"flag{number}" for number in range(400))
    parts = [encode(node, Kind.JOINED, about={"cpu_flags": flags}).splitlines(keepends=True) for node in (1, 2)]
    failed = to_document(ExitOutcome(0, None, Reason.COMPLETED, "x" * 3000))
    ends = [ended(node, failed, at=1.0).splitlines(keepends=True) for node in (1, 2)]
    mixed = [part for pair in (*zip(*parts, strict=True), *zip(*ends, strict=True)) for part in pair]
    assert len(mixed) > 8
    assert 1024 > max(map(len, mixed))
    found = peers(*mixed, size=3)
    assert (None, True) == (heard(found), found.all_ended)
    about = [event.about for event in events(run_dir) if isinstance(event, NodeJoined)]
    assert [flags, flags] == [each["cpu_flags"] for each in about]
    assert [] == found.srun_output


def test_a_node_whose_last_word_did_not_come_ended_as_its_own_journal_says(peers, run_dir):
    node = run_dir.on_node(1)
    node.place.mkdir(parents=True)
    journal = Journal(node.journal)
    journal.append(Finished("program", 7))  # of an earlier attempt
    found = peers(script="import sys; sys.stdout.write({said!r})", size=3)
    found.nodes[1].journal.look()
    journal.append(Resumed())
    journal.append(Finished("completed", 0))
    assert "node 2: its job step has ended" == heard(found).detail
    ends = {event.node: event.ending["reason"] for event in events(run_dir)}
    assert {1: "completed", 2: "lost"} == ends


def test_a_node_that_the_end_of_its_link_alone_told_to_end_is_lost(peers, run_dir):
    """The kernel asks its supervisor to end then, and that one writes down that it was asked to."""
    node = run_dir.on_node(1)
    node.place.mkdir(parents=True)
    found = peers(script="import sys; sys.stdout.write({said!r})")
    Journal(node.journal).append(Finished("stopped", 137))
    assert StopRequest(Reason.LOST, "node 1: its job step has ended") == heard(found)


def test_a_machine_that_slurm_gives_up_is_lost(peers):
    found = peers(encode(1, Kind.HERE, name="n1", host="h", at=0.0), b"srun: error: Node failure on n1\n")
    assert StopRequest(Reason.LOST, "node 1 (`n1`): Slurm says that the machine has failed") == heard(found)


def test_a_node_that_is_silent_is_lost(peers):
    found = peers(silent_since=time.monotonic())
    assert Reason.LOST is found.look().reason
    assert found.look() is None


def test_words_go_to_all_nodes_and_end_with_the_first(peers):
    found = peers(script="import sys; sys.stdout.write(sys.stdin.read())")
    found.ask(Reason.TIMEOUT)
    found.kill()
    found.step.stdin.close()
    assert b"SIGUSR2\nSIGQUIT\n" == found.step.stdout.read()
    found.fd = -1


def test_a_pause_is_passed_on(peers, run_dir):
    found = peers(script="import sys; sys.stdout.write(sys.stdin.read())")
    Journal(run_dir.journal).append(Paused())
    found.look()
    found.step.stdin.close()
    assert b"pause\n" == found.step.stdout.read()
    found.fd = -1
