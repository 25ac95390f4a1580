"""A run of the crash tests' project that goes on in the background, and whoever tends to it."""

from __future__ import annotations

import json
import os
import signal
from typing import Any

from launch_command import Launch
from victims import process_children
from waiting import eventually

from runtime.file_lock import is_locked
from runtime.json_files import json_object


class Going:
    """A run in the background whose program has begun."""

    def __init__(self, launch: Launch, *words: str, begun: str = "outputs/begun") -> None:
        """*begun*: a file that shows, below the run's directory, that its program does its work."""
        self.launch = launch
        self.run_id = launch("-d", "experiment=crash", *words).stdout.strip()
        self.run_dir = launch.home / "runs" / self.run_id
        eventually(lambda: (self.run_dir / begun).exists() and self.has("started"))

    @property
    def init(self) -> int:
        """The container's process 1, of the latest attempt."""
        return next(int(event["init_pid"]) for event in reversed(self.events()) if event["event"] == "started")

    def has(self, name: str) -> bool:
        return any(event["event"] == name for event in self.events())

    def events(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in (self.run_dir / "journal.jsonl").read_text().splitlines()]

    def kill_followers(self) -> None:
        """Supervisor and tracker; the tracker is stopped first, since it would call another supervisor."""
        supervisor = int(eventually(lambda: json_object(self.run_dir / "supervisor.lock").get("pid")))
        trackers = [pid for pid in process_children(supervisor) if pid != self.init]
        for pid in trackers:
            os.kill(pid, signal.SIGSTOP)
        for pid in (supervisor, *trackers):
            os.kill(pid, signal.SIGKILL)
        eventually(lambda: not is_locked(self.run_dir / "supervisor.lock"))

    def ended(self, *, code: int) -> dict[str, Any]:
        self.launch("wait", self.run_id, check=code)
        return self.launch.record(self.run_id)
