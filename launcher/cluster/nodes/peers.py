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
from dataclasses import dataclass, field, replace
from typing import Any

from launcher.cluster.nodes.left_nodes import leave_behind
from launcher.cluster.nodes.rendezvous import arranged
from launcher.cluster.nodes.step import start_step
from launcher.cluster.nodes.verdict import Asked, NodeEnd, end_words, verdict
from launcher.cluster.nodes.words import BEAT_S, PAUSE, SIGNALS, UNPAUSE, Ear, document_of, outcome_from
from launcher.cluster.slurm.own_job import this_node
from launcher.journal import journal
from launcher.journal.fencing import TOKEN
from launcher.journal.status import Reason
from launcher.plan.program.environment import Rendezvous
from launcher.run.supervisor.attempt import Attempt, AttemptResult, StopRequest
from launcher.run.supervisor.outcome import ExitOutcome
from launcher.run.supervisor.run_experiment import Run
from runtime.state_dir import RunDir

_LOOK_S = 0.5
_FIRST_WORD_WITHIN_S = 180.0
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
    written: journal.Follower
    """Its own journal, behind what stood there before this attempt."""
    name: str | None = None
    clock_ahead_s: float = 0.0
    """How far its clock is before ours, and a little more: its first word took some time to come."""
    end: NodeEnd | None = None

    @property
    def words(self) -> str:
        return f"node {self.node}" if self.name is None else f"node {self.node} (`{self.name}`)"


@dataclass(slots=True)
class StepPeers:
    """Implements `launcher.run.supervisor.peers.Peers`."""

    run_dir: RunDir
    rendezvous: Rendezvous
    step: subprocess.Popen[bytes]
    nodes: dict[int, _Node]
    fd: int
    relayed: journal.Follower
    rest: bytes = b""
    ear: Ear = field(default_factory=Ear)
    said_by_srun: list[str] = field(default_factory=list)
    asked: Asked | None = None
    demanded: bool = False
    give_up_at: float | None = None

    @property
    def all_ended(self) -> bool:
        return all(node.end is not None for node in self.nodes.values())

    def take_in(self) -> StopRequest | None:
        chunk = os.read(self.fd, 1 << 16)
        *lines, self.rest = (self.rest + chunk).split(b"\n")
        demands = [self._hear(line) for line in lines]
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
        return self._first([self._lose(node, "nothing was heard of it for too long") for node in silent])

    def ask(self, reason: Reason) -> None:
        if self.asked is None and not self.demanded:
            self.asked = Asked(reason, time.time())
        self._say(SIGNALS.get(reason, signal.SIGTERM).name)

    def kill(self) -> None:
        self.give_up_at = time.monotonic() + _KILLED_WITHIN_S
        self._say(signal.SIGQUIT.name)

    def verdict(self, own: Attempt, followed: AttemptResult) -> Attempt:
        at = followed.program.at if followed.program is not None else None
        told = followed.asked is not None and (followed.for_peers or followed.asked in SIGNALS)
        mine = NodeEnd(f"node 0 (`{this_node()}`)", own.outcome, at or 0.0, told)
        ends = [mine, *(node.end for node in self.nodes.values() if node.end is not None)]
        return replace(own, outcome=verdict(ends, self.asked))

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
        self.demanded = self.demanded or (demand is not None and self.asked is None)
        return demand

    def _hear(self, line: bytes) -> StopRequest | None:
        said = self.ear.hear(line)
        if said is None:
            return self._hear_srun(line.decode(errors="replace"))
        return self._take_in(self.nodes[said["node"]], said["kind"], said) if said else None

    def _take_in(self, node: _Node, kind: str, said: dict[str, Any]) -> StopRequest | None:
        node.silent_since = time.monotonic() + _SILENT_S
        if kind == "here":
            node.name, node.clock_ahead_s = said["name"], said["at"] - time.time()
        elif kind == "joined":
            journal.append(self.run_dir.journal, "joined", node=node.node, about={"name": node.name, **said["about"]})
        elif kind == "sample":
            self._keep(said["sample"])
        elif kind == "ended":
            at = said["at"] - node.clock_ahead_s
            return self._note_end(node, NodeEnd(node.words, outcome_from(said["outcome"]), at, said["told"]))
        return None

    def _hear_srun(self, words: str) -> StopRequest | None:
        if not words.strip():
            return None
        print(words, file=sys.stderr, flush=True)
        self.said_by_srun = [*self.said_by_srun[-2:], words.strip().removeprefix("srun: ").removeprefix("error: ")]
        failed = _NODE_FAILURE.match(words)
        lost = [node for node in self.nodes.values() if failed is not None and node.name == failed[1]]
        return self._first([self._lose(node, "Slurm says that the machine has failed") for node in lost])

    def _note_end(self, node: _Node, end: NodeEnd) -> StopRequest | None:
        """How *node* ended; whether all have to end for that."""
        if node.end is not None:
            return None
        node.end = end
        outcome = end.outcome
        journal.append(
            self.run_dir.journal,
            "left",
            node=node.node,
            ending={"reason": str(outcome.reason), "exit_code": outcome.exit_code, "message": outcome.detail},
        )
        if outcome.reason is Reason.COMPLETED:
            return None
        return StopRequest(outcome.reason, end_words(end.name, outcome))

    def _lose(self, node: _Node, why: str) -> StopRequest | None:
        """Nothing more is heard of *node*: it is lost, unless it wrote down how it ended, and that word alone has not come."""
        ours = [event for event in node.written.new_events() if event.get(TOKEN) == journal.signature()]
        finished = next((event for event in ours if event.name == "finished"), None)
        if finished is not None:
            own, at = outcome_from(document_of(finished)), finished.at - node.clock_ahead_s
            return self._note_end(node, NodeEnd(node.words, own, at, told=own.reason in SIGNALS))
        outcome = ExitOutcome(125, None, Reason.LOST, why, of_the_machine=True)
        return self._note_end(node, NodeEnd(node.words, outcome, time.time(), told=self.asked is not None or self.demanded))

    def _lose_rest(self, why: str) -> StopRequest | None:
        words = f"{why}: {'; '.join(self.said_by_srun)}" if self.said_by_srun else why
        return self._first([self._lose(node, words) for node in self.nodes.values() if node.end is None])

    def _relay_pauses(self) -> None:
        for event in self.relayed.new_events():
            if event.name in ("paused", "unpaused"):
                self._say(PAUSE if event.name == "paused" else UNPAUSE)

    def _keep(self, sample: dict[str, Any]) -> None:
        with suppress(OSError), self.run_dir.system_metrics.open("a") as file:  # a full disk: the next one may find room
            file.write(json.dumps(sample) + "\n")

    def _say(self, word: str) -> None:
        assert self.step.stdin is not None
        with suppress(OSError, ValueError):  # the step has ended, which is heard on the other side
            os.write(self.step.stdin.fileno(), f"{word}\n".encode())


@contextmanager
def joined(run: Run, number: int) -> Iterator[StepPeers]:
    """The other nodes of *run* for the body, which is its attempt *number*. Raises LaunchError."""
    nodes, interface = run.plan.spec.nodes, run.plan.spec.cluster.interface
    leave_behind(run.run_dir, attempt=number)
    rendezvous = arranged(nodes, attempt=number, interface=interface)
    until = time.monotonic() + _FIRST_WORD_WITHIN_S
    others = {node: _Node(node, until, _from_here_on(run.run_dir.on_node(node))) for node in range(1, nodes)}
    step = start_step(run.run_dir, rendezvous, attempt=number, interface=interface)
    assert step.stdout is not None
    peers = StepPeers(run.run_dir, rendezvous, step, others, step.stdout.fileno(), _from_here_on(run.run_dir))
    try:
        yield peers
    finally:
        peers.close()


def _from_here_on(run_dir: RunDir) -> journal.Follower:
    follower = journal.Follower(run_dir.journal)
    follower.new_events()
    return follower
