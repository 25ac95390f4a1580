"""On a further node: what ties its supervisor to the first node's. It sends there what happens here, and does what comes back.

It is the process that Slurm started, and the supervisor is its child, so that what it sends last is not lost: Slurm kills what is
left of a task whose first process has ended. Where the first node is gone, or the run has gone on elsewhere, everything here
ends.
"""

from __future__ import annotations

import json
import os
import select
import signal
import time
from contextlib import suppress
from typing import Any

from launcher.cluster.nodes.messages import BEAT_S, FENCE_S, PAUSE, SIGNALS, UNPAUSE, Kind, encode, outcome_in, to_document
from launcher.cluster.placement.kill_placement import kill_placement
from launcher.cluster.slurm.own_job import this_node
from launcher.journal.events import Entry, Finished, Leased, Queued, Started
from launcher.journal.growing_file import GrowingFile
from launcher.journal.run_journal import Follower, Journal
from launcher.journal.status import Reason
from launcher.run.pauses import freeze_run, thaw_run
from launcher.run.supervisor.acquisitions import undo_all
from runtime.container import lifecycle
from runtime.kernel import processes
from runtime.light_dataclasses import dataclass, field
from runtime.state_dir import RunDir

_LOOK_S = 0.1
_STDIN = 0
_FORWARDED = frozenset({*(signum.name for signum in SIGNALS.values()), signal.SIGQUIT.name})


@dataclass(slots=True)
class Link:
    node_dir: RunDir
    placement: str
    supervisor: int
    """Its process id."""
    answers: int
    """Where what we send goes."""
    new_events: Follower
    """The node's journal, behind what stood there before this attempt."""
    rest: bytes = b""
    """Of what was read from the first node: a line without its end."""
    pidfd: int = -1
    journal: Journal = field(init=False)
    samples: GrowingFile = field(init=False)
    has_joined: bool = False
    about: dict[str, Any] = field(default_factory=dict)
    finished: Entry | None = None
    """The supervisor's last word."""
    sent_at: float = 0.0

    def run(self) -> int:
        """Until the supervisor has ended. Returns the task's exit code."""
        for signum in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2):
            signal.signal(signum, signal.SIG_IGN)  # Slurm sends them to the supervisor, too
        self.journal = Journal(self.node_dir.journal, self.placement)
        self.pidfd = os.pidfd_open(self.supervisor)
        self.samples = GrowingFile(self.node_dir.system_metrics)
        with suppress(FileNotFoundError):
            self.samples.offset = self.node_dir.system_metrics.stat().st_size
        attempt = _Attempt(self.node_dir.on_node(0), self.placement)
        self._send(Kind.HERE, name=this_node(), host=os.uname().nodename, at=time.time())
        waiting_for = [_STDIN, self.pidfd]
        while True:
            ready, _, _ = select.select(waiting_for, [], [], _LOOK_S)
            if _STDIN in ready and not self._obey():
                waiting_for.remove(_STDIN)
                self._forward(signal.SIGQUIT)  # the first node is gone
            if self.pidfd in ready:
                return self._send_end()
            self._send_news()
            if time.monotonic() - self.sent_at >= BEAT_S:
                self._send(Kind.BEAT)
            if attempt.is_over():
                self._forward(signal.SIGQUIT)

    def _obey(self) -> bool:
        """Do what the first node says. False when it will say no more."""
        chunk = os.read(_STDIN, 1 << 12)
        *orders, self.rest = (self.rest + chunk).split(b"\n")
        for order in map(bytes.decode, orders):
            if order in _FORWARDED:
                self._forward(signal.Signals[order])
            elif order in (PAUSE, UNPAUSE):
                with suppress(Exception):  # no freezer here: the first node has none either, and has said so
                    (freeze_run if order == PAUSE else thaw_run)(self.node_dir, self.journal)
        return bool(chunk)

    def _forward(self, signum: signal.Signals) -> None:
        processes.send_signal(self.pidfd, signum)

    def _send_news(self) -> None:
        for entry in self.new_events.new_entries():
            event = entry.event
            if isinstance(event, Leased):
                self.about["gpus"] = event.gpus
            if isinstance(event, Queued | Leased):
                self.about |= event.facts or {}
            if isinstance(event, Started) and not self.has_joined:
                self.has_joined = True
                self._send(Kind.JOINED, about=self.about)
            if isinstance(event, Finished):
                self.finished = entry
        for line in self.samples.new_lines():
            with suppress(ValueError):
                self._send(Kind.SAMPLE, sample=json.loads(line))

    def _send_end(self) -> int:
        os.waitpid(self.supervisor, 0)
        self._send_news()
        last = self.finished or self._close()
        assert isinstance(last.event, Finished)
        outcome = outcome_in(last.event)
        recorded = lifecycle.read_exit(self.node_dir.exit_record)
        at = recorded.at if recorded is not None and recorded.at is not None else last.at
        self._send(Kind.ENDED, outcome=to_document(outcome), at=at, was_asked=outcome.reason in SIGNALS)
        return 0

    def _close(self) -> Entry:
        """The supervisor was killed: end the container, give back what they had taken, and say so."""
        own = self.new_events.state.placement_of(self.placement)
        if own is not None:
            kill_placement(own)
        undo_all(self.node_dir)
        return self.journal.append(Finished(str(Reason.LOST), 125, message="its supervisor was killed"))

    def _send(self, kind: Kind, **fields: Any) -> None:
        self.sent_at = time.monotonic()
        with suppress(OSError):  # nobody listens any more: the end of our stdin says so, too
            os.write(self.answers, encode(self.node_dir.node, kind, **fields))


class _Attempt:
    """The attempt that this node is part of, as the run's journal has it: with a broken network a node may hear nothing else."""

    def __init__(self, run_dir: RunDir, placement: str) -> None:
        self._journal = Follower(run_dir.journal)
        self._placement = placement
        state = self._journal.look()
        self._number = state.next_attempt
        self._is_over = state.job is None
        self._looked_at = time.monotonic()

    def is_over(self) -> bool:
        if time.monotonic() < self._looked_at + FENCE_S:
            return self._is_over
        self._looked_at = time.monotonic()
        with suppress(OSError):
            state = self._journal.look()
            has_gone_on = state.next_attempt != self._number or state.placement != self._placement
            self._is_over = self._is_over or state.is_over or has_gone_on
        return self._is_over
