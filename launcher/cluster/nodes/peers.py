"""On the first node: the others as the run's supervisor deals with them (`launcher.run.supervisor.peers`), over one job step."""

from __future__ import annotations

import json
import os
import re
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from launcher.cluster.nodes.messages import (
    BEAT_S,
    PAUSE,
    SIGNALS,
    UNPAUSE,
    Kind,
    MessageReader,
    from_document,
    outcome_in,
)
from launcher.cluster.nodes.rendezvous import arrange_rendezvous
from launcher.cluster.nodes.step import quarantine_earlier_nodes, start_step
from launcher.cluster.nodes.verdict import EndRequest, NodeEnd, describe_end, verdict
from launcher.cluster.slurm.own_job import this_node
from launcher.journal.events import Finished, NodeEnded, NodeJoined, Paused, Unpaused
from launcher.journal.run_journal import Follower, Journal
from launcher.journal.status import Reason
from launcher.plan.program.environment import Rendezvous
from launcher.run.supervisor.attempt import Attempt, AttemptResult, StopRequest
from launcher.run.supervisor.outcome import ExitOutcome
from launcher.run.supervisor.run_experiment import Run
from runtime.light_dataclasses import dataclass, field, replace
from runtime.state_dir import RunDir

_LOOK_S = 0.5
_FIRST_MESSAGE_WITHIN_S = 180.0
"""Slurm may have a prolog to run there."""
_SILENT_S = 12 * BEAT_S
_KILLED_WITHIN_S = 20.0
_STEP_ENDS_WITHIN_S = 30.0
_STEP_WITH_LOST_S = 2.0
"""srun would wait for a machine that is gone."""
_STEP_ENDS_AT_ONCE_S = 5.0

_NODE_FAILURE = re.compile(r"srun: error: Node failure on (\S+)")


@dataclass(slots=True)
class _Node:
    """One of the others."""

    node: int
    silent_since: float
    journal: Follower
    """Its own, behind what stood there before this attempt."""
    name: str | None = None
    clock_ahead_s: float = 0.0
    """How far its clock is before ours, and a little more: its first message took some time to come."""
    end: NodeEnd | None = None

    @property
    def label(self) -> str:
        return f"node {self.node}" if self.name is None else f"node {self.node} (`{self.name}`)"


@dataclass(slots=True)
class StepPeers:
    """Implements `launcher.run.supervisor.peers.Peers`."""

    run_dir: RunDir
    journal: Journal
    rendezvous: Rendezvous
    step: subprocess.Popen[bytes]
    nodes: dict[int, _Node]
    fd: int
    new_events: Follower
    """The run's journal, behind what stood there before this attempt."""
    rest: bytes = b""
    """Of what was read from the step: a line without its end."""
    messages: MessageReader = field(default_factory=MessageReader)
    srun_output: list[str] = field(default_factory=list)
    request: EndRequest | None = None
    """By whoever asked for the end of the run."""
    has_demanded: bool = False
    """The end of one node has demanded that of all."""
    give_up_at: float | None = None

    @property
    def all_ended(self) -> bool:
        return all(node.end is not None for node in self.nodes.values())

    def take_in(self) -> StopRequest | None:
        chunk = os.read(self.fd, 1 << 16)
        *lines, self.rest = (self.rest + chunk).split(b"\n")
        demands = [self._take_line(line) for line in lines]
        if not chunk:
            self.fd = -1
            demands.append(self._lose_rest("its job step has ended"))
        return self._first(demands)

    def next_look_s(self) -> float:
        return _LOOK_S

    def look(self) -> StopRequest | None:
        self._relay_pauses()
        now = time.monotonic()
        if self.give_up_at is not None and now >= self.give_up_at:
            return self._first([self._lose_rest("it did not say that it ended")])
        silent = [node for node in self.nodes.values() if node.end is None and now >= node.silent_since]
        return self._first([self._lose(node, "it has been silent for too long") for node in silent])

    def ask(self, reason: Reason) -> None:
        if self.request is None and not self.has_demanded:
            self.request = EndRequest(reason, time.time())
        self._send(SIGNALS.get(reason, signal.SIGTERM).name)

    def kill(self) -> None:
        self.give_up_at = time.monotonic() + _KILLED_WITHIN_S
        self._send(signal.SIGQUIT.name)

    def verdict(self, own: Attempt, followed: AttemptResult) -> Attempt:
        at = followed.program.at if followed.program is not None else None
        was_asked = followed.asked is not None and (followed.for_peers or followed.asked in SIGNALS)
        mine = NodeEnd(f"node 0 (`{this_node()}`)", own.outcome, at or 0.0, was_asked)
        ends = [mine, *(node.end for node in self.nodes.values() if node.end is not None)]
        return replace(own, outcome=verdict(ends, self.request))

    def close(self) -> None:
        """The end of our words is the end of whatever still runs there."""
        assert self.step.stdin is not None
        assert self.step.stdout is not None
        with suppress(OSError):
            self.step.stdin.close()
        lost = any(node.end is not None and node.end.outcome.reason is Reason.LOST for node in self.nodes.values())
        first_s = _STEP_WITH_LOST_S if lost else _STEP_ENDS_WITHIN_S
        for wait_s, then in ((first_s, self.step.terminate), (_STEP_ENDS_AT_ONCE_S, self.step.kill)):
            with suppress(subprocess.TimeoutExpired):
                self._wait(wait_s)
                break
            then()
        self.step.stdout.close()

    def _wait(self, wait_s: float) -> None:
        """Read on meanwhile: srun waits for those who don't."""
        deadline = time.monotonic() + wait_s
        while self.fd >= 0 and time.monotonic() < deadline:
            if select.select([self.fd], [], [], _LOOK_S)[0]:
                self.take_in()
        self.step.wait(max(0.1, deadline - time.monotonic()))

    def _first(self, demands: list[StopRequest | None]) -> StopRequest | None:
        demand = next((each for each in demands if each is not None), None)
        self.has_demanded = self.has_demanded or (demand is not None and self.request is None)
        return demand

    def _take_line(self, line: bytes) -> StopRequest | None:
        message = self.messages.feed(line)
        if message is None:
            return self._take_srun_line(line.decode(errors="replace"))
        return self._take_message(self.nodes[message["node"]], message) if message else None

    def _take_message(self, node: _Node, message: dict[str, Any]) -> StopRequest | None:
        node.silent_since = time.monotonic() + _SILENT_S
        match message["kind"]:
            case Kind.HERE:
                node.name, node.clock_ahead_s = message["name"], message["at"] - time.time()
            case Kind.JOINED:
                self.journal.append(NodeJoined(node.node, {"name": node.name, **message["about"]}))
            case Kind.SAMPLE:
                self._keep(message["sample"])
            case Kind.ENDED:
                outcome, at = from_document(message["outcome"]), message["at"] - node.clock_ahead_s
                return self._note_end(node, NodeEnd(node.label, outcome, at, message["was_asked"]))
        return None

    def _take_srun_line(self, line: str) -> StopRequest | None:
        if not line.strip():
            return None
        print(line, file=sys.stderr, flush=True)
        self.srun_output = [*self.srun_output[-2:], line.strip().removeprefix("srun: ").removeprefix("error: ")]
        failed = _NODE_FAILURE.match(line)
        lost = [node for node in self.nodes.values() if failed is not None and node.name == failed[1]]
        return self._first([self._lose(node, "Slurm says that the machine has failed") for node in lost])

    def _note_end(self, node: _Node, end: NodeEnd) -> StopRequest | None:
        """How *node* ended; whether all have to end for that."""
        if node.end is not None:
            return None
        node.end = end
        outcome = end.outcome
        ending = {"reason": str(outcome.reason), "exit_code": outcome.exit_code, "message": outcome.detail}
        self.journal.append(NodeEnded(node.node, ending))
        if outcome.reason is Reason.COMPLETED:
            return None
        return StopRequest(outcome.reason, describe_end(end.name, outcome))

    def _lose(self, node: _Node, why: str) -> StopRequest | None:
        """Nothing more is heard of *node*: it is lost, unless it wrote down how it ended, and that message alone has not come.

        An end that it was asked for, and not by us, is that of its link: the kernel asks for it then.
        """
        was_asked = self.request is not None or self.has_demanded
        for entry in node.journal.new_entries():
            if isinstance(entry.event, Finished) and entry.token == self.journal.token:
                own, at = outcome_in(entry.event), entry.at - node.clock_ahead_s
                if was_asked or own.reason not in SIGNALS:
                    return self._note_end(node, NodeEnd(node.label, own, at, was_asked=own.reason in SIGNALS))
        outcome = ExitOutcome(125, None, Reason.LOST, why, of_the_machine=True)
        return self._note_end(node, NodeEnd(node.label, outcome, time.time(), was_asked))

    def _lose_rest(self, why: str) -> StopRequest | None:
        detail = f"{why}: {'; '.join(self.srun_output)}" if self.srun_output else why
        return self._first([self._lose(node, detail) for node in self.nodes.values() if node.end is None])

    def _relay_pauses(self) -> None:
        for entry in self.new_events.new_entries():
            if isinstance(entry.event, Paused | Unpaused):
                self._send(PAUSE if isinstance(entry.event, Paused) else UNPAUSE)

    def _keep(self, sample: dict[str, Any]) -> None:
        with suppress(OSError), self.run_dir.system_metrics.open("a") as file:  # a full disk: the next one may find room
            file.write(json.dumps(sample) + "\n")

    def _send(self, word: str) -> None:
        assert self.step.stdin is not None
        with suppress(OSError, ValueError):  # the step has ended, and the other side sees that
            os.write(self.step.stdin.fileno(), f"{word}\n".encode())


@contextmanager
def bring_up_peers(run: Run, number: int) -> Iterator[StepPeers]:
    """The other nodes of *run* for the body, which is its attempt *number*. Raises LaunchError."""
    nodes, interface = run.plan.spec.nodes, run.plan.spec.cluster.interface
    quarantine_earlier_nodes(run.run_dir, run.journal, attempt=number)
    rendezvous = arrange_rendezvous(nodes, attempt=number, interface=interface)
    until = time.monotonic() + _FIRST_MESSAGE_WITHIN_S
    others = {node: _Node(node, until, _from_here_on(run.run_dir.on_node(node))) for node in range(1, nodes)}
    step = start_step(run.run_dir, rendezvous, attempt=number, interface=interface)
    assert step.stdout is not None
    peers = StepPeers(run.run_dir, run.journal, rendezvous, step, others, step.stdout.fileno(), _from_here_on(run.run_dir))
    try:
        yield peers
    finally:
        peers.close()


def _from_here_on(run_dir: RunDir) -> Follower:
    follower = Follower(run_dir.journal)
    follower.look()
    return follower
