"""On a further node: what ties its supervisor to the first node's. It says there what happens here, and passes on what it hears.

It is the process that Slurm started, and the supervisor is its child, so that what it says last is not lost: Slurm kills what is
left of a task whose first process has ended. Where the first node is gone, or the run has gone on elsewhere, everything here
ends.
"""

from __future__ import annotations

import os
import select
import signal
import time
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from launcher.cluster.nodes.words import BEAT_S, FENCE_S, PAUSE, SIGNALS, UNPAUSE, document_of, lines
from launcher.cluster.placement.kill_placement import kill_placement
from launcher.cluster.slurm.own_job import this_node
from launcher.journal import journal
from launcher.journal.fencing import TOKEN
from launcher.journal.run_journal import Journal
from launcher.journal.status import Reason
from launcher.journal.submitted import job_of
from launcher.run.pauses import freeze_run, thaw_run
from launcher.run.supervisor.acquisitions import undo_all
from launcher.tracking.metrics.metric_log import read_slice
from runtime.container import lifecycle
from runtime.kernel import processes
from runtime.state_dir import RunDir

_LOOK_S = 0.1
_STDIN = 0
_PASSED_ON = frozenset({*(signum.name for signum in SIGNALS.values()), signal.SIGQUIT.name})


@dataclass(slots=True)
class Link:
    node_dir: RunDir
    placement: str
    supervisor: int
    answers: int
    """Where what we say goes."""
    heard: bytes = b""
    joined: bool = False
    sampled: int = 0
    """How much of the samples has been passed on."""
    spoken_at: float = 0.0
    pidfd: int = -1
    events: journal.Follower = field(init=False)
    about: dict[str, Any] = field(default_factory=dict)

    def run(self) -> int:
        """Until the supervisor has ended. Returns the task's exit code."""
        for signum in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2):
            signal.signal(signum, signal.SIG_IGN)  # Slurm sends them to the supervisor, too
        journal.sign_as(self.placement)
        self.events = journal.Follower(self.node_dir.journal)
        self.pidfd = os.pidfd_open(self.supervisor)
        with suppress(FileNotFoundError):
            self.sampled = self.node_dir.system_metrics.stat().st_size
        attempt = _Attempt(self.node_dir.on_node(0), self.placement)
        self._say("here", name=this_node(), host=os.uname().nodename, at=time.time())
        waiting_for = [_STDIN, self.pidfd]
        while True:
            ready, _, _ = select.select(waiting_for, [], [], _LOOK_S)
            if _STDIN in ready and not self._hear():
                waiting_for.remove(_STDIN)
                self._pass_on(signal.SIGQUIT)  # the first node is gone
            if self.pidfd in ready:
                return self._tell_end()
            self._tell_news()
            if time.monotonic() - self.spoken_at >= BEAT_S:
                self._say("beat")
            if attempt.is_over():
                self._pass_on(signal.SIGQUIT)

    def _hear(self) -> bool:
        """Do what the first node says. False when it will say no more."""
        chunk = os.read(_STDIN, 1 << 12)
        *words, self.heard = (self.heard + chunk).split(b"\n")
        for word in map(bytes.decode, words):
            if word in _PASSED_ON:
                self._pass_on(signal.Signals[word])
            elif word in (PAUSE, UNPAUSE):
                with suppress(Exception):  # no freezer here: the first node has none either, and has said so
                    (freeze_run if word == PAUSE else thaw_run)(self.node_dir, Journal(self.node_dir.journal, self.placement))
        return bool(chunk)

    def _pass_on(self, signum: signal.Signals) -> None:
        processes.send_signal(self.pidfd, signum)

    def _tell_news(self) -> None:
        for event in self.events.new_events():
            if event.name == "leased":
                self.about["gpus"] = event.get("gpus")
            self.about |= event.get("facts") or {} if event.name in ("queued", "leased") else {}
            if event.name == "started" and not self.joined:
                self.joined = True
                self._say("joined", about=self.about)
        samples, self.sampled = read_slice(self.node_dir.system_metrics, self.sampled)
        for sample in samples:
            self._say("sample", sample=sample)

    def _tell_end(self) -> int:
        os.waitpid(self.supervisor, 0)
        self._tell_news()
        finished = self._last_word() or self._close_what_is_left()
        ended = lifecycle.read_exit(self.node_dir.exit_record)
        outcome = document_of(finished)
        at = ended.at if ended is not None and ended.at is not None else finished.at
        self._say("ended", outcome=outcome, at=at, told=Reason(outcome["reason"]) in SIGNALS)
        return 0

    def _last_word(self) -> journal.Event | None:
        events = journal.since_resumed(journal.read(self.node_dir.journal))
        return next((event for event in events if event.name == "finished"), None)

    def _close_what_is_left(self) -> journal.Event:
        """The supervisor was killed: end the container, give back what they had taken, and say so."""
        kill_placement([event for event in journal.read(self.node_dir.journal) if event.get(TOKEN) == self.placement])
        undo_all(self.node_dir)
        message = "its supervisor was killed"
        return journal.append(
            self.node_dir.journal, "finished", reason=str(Reason.LOST), exit_code=125, signal=None, message=message
        )

    def _say(self, kind: str, **fields: Any) -> None:
        self.spoken_at = time.monotonic()
        with suppress(OSError):  # nobody listens any more: the end of our stdin says so, too
            os.write(self.answers, lines(self.node_dir.node, kind, **fields))


class _Attempt:
    """The attempt that this node is part of, as the run's journal has it: with a broken network a node may hear nothing else."""

    def __init__(self, run_dir: RunDir, placement: str) -> None:
        self._events = journal.Follower(run_dir.journal)
        self._placement = placement
        self._over = job_of(self._events.new_events()) is None
        self._looked_at = time.monotonic()

    def is_over(self) -> bool:
        if time.monotonic() < self._looked_at + FENCE_S:
            return self._over
        self._looked_at = time.monotonic()
        with suppress(OSError):
            ended = [event for event in self._events.new_events() if event.name in ("attempt", "finished", "resumed")]
            self._over = self._over or bool(ended) or self._events.fence.placement != self._placement
        return self._over
