"""A tracker that is forked only when its run lasts: a trial of a moment is over before anybody has asked for one.

Until then there is a timer in its place, which the supervisor watches like a tracker that may die. The program knows its run's id
and its gateway's address, where connections wait; what it writes stays in its files. When the run is over before the timer, a
process that all trials share sends the record (`sender.py`), in the way of `launch sync`.
"""

from __future__ import annotations

import json
import os
import socket
from dataclasses import dataclass
from typing import Any

from launcher.journal import journal
from launcher.run.start.sender import Sender
from launcher.run.supervisor.tracker_process import TrackerProcess, start_tracker
from launcher.tracking import tracker_state
from launcher.tracking.mlflow.description import current_status, may_use_mlflow
from runtime.kernel.libc import timer
from runtime.state_dir import RunDir

LATE_S = 0.7


@dataclass(slots=True)
class LateTracker(TrackerProcess):
    """One that has not begun, and after `_begin` one like others."""

    sender: Sender | None = None
    """None: it has begun."""

    def wait_ready(self, *, timeout_s: float) -> dict[str, Any]:
        if self.sender is None or self.answer is not None:
            return TrackerProcess.wait_ready(self, timeout_s=timeout_s)
        state = tracker_state.load(self.run_dir)
        state.token = state.token or tracker_state.new_token()
        state.provisional_id = state.provisional_id or tracker_state.new_run_id()
        tracker_state.save(self.run_dir, state)
        known = {"run_id": state.provisional_id, "experiment_id": "0", "provisional": True}
        self.answer = {"mlflow": known, "token": state.token}
        return self.answer

    def hand_listener(self, listener_fd: int) -> None:
        self.listener_fd = listener_fd
        if self.sender is None:
            TrackerProcess.hand_listener(self, listener_fd)

    def catch_up(self) -> None:
        self._begin()
        TrackerProcess.catch_up(self)

    def replace(self) -> bool:
        """The time is up, or the tracker has died."""
        if self.sender is None:
            return TrackerProcess.replace(self)
        self._begin()
        return True

    def finish(self) -> None:
        self.listener_fd = None  # closed with the container; its number may be another file's by now
        if self.sender is not None:
            self.sender.send(self.run_dir)
            state, events = tracker_state.load(self.run_dir), journal.read(self.run_dir.journal)
            if tracker_state.is_complete(state, *current_status(events)):
                os.close(self.pidfd)
                return
            self._begin()
        TrackerProcess.finish(self)

    def _begin(self) -> None:
        if self.sender is None:
            return
        self.sender = None
        os.close(self.pidfd)
        self.channel.close()
        self._take(start_tracker(self.run_dir))


def tracker_when_needed(run_dir: RunDir, sender: Sender | None) -> TrackerProcess:
    """A tracker for a new run: at once where somebody may ask for it or it has more to follow than a file; else later."""
    if sender is None or not _may_be_late(json.loads(run_dir.plan.read_bytes())["plan"]):
        return start_tracker(run_dir)
    nobody, also_nobody = socket.socketpair()
    also_nobody.close()
    return LateTracker(run_dir, -1, timer(LATE_S), -1, nobody, -1, sender=sender)


def _may_be_late(plan: dict[str, Any]) -> bool:
    spec = plan["spec"]
    is_tracked = spec.get("tracking") is not None
    follows_files = bool(spec["metrics"]["tensorboard"] or spec["metrics"]["patterns"])
    return is_tracked and not (plan["gpus"] or follows_files or may_use_mlflow(plan))
