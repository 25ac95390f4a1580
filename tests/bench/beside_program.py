"""What the processes beside a run's program use of the CPU: its tracker, and the local MLflow server."""

from __future__ import annotations

import contextlib
import json
import os
import threading
from pathlib import Path
from typing import Any

_LOOK_S = 0.1


class BesideProgram(threading.Thread):
    """Follows the run that is launched while it is entered, in a LAUNCH_HOME that is nobody else's."""

    def __init__(self, home: Path) -> None:
        super().__init__(daemon=True)
        self._home = home
        self._known = self._runs()
        self._over = threading.Event()
        self.tracker_s = 0.0
        self.tracker_bytes = 0
        """The most that it had in memory by itself (private pages)."""
        self.server_s = 0.0

    def __enter__(self) -> BesideProgram:
        self._server_before = self._server_cpu_s()
        self.start()
        return self

    def __exit__(self, *_: Any) -> None:
        self._over.set()
        self.join()
        self.server_s = self._server_cpu_s() - self._server_before

    def run(self) -> None:
        tracker = None
        while not self._over.wait(_LOOK_S):
            tracker = tracker or self._tracker()
            if tracker is not None:
                with contextlib.suppress(OSError):  # it has ended
                    self.tracker_s = max(self.tracker_s, cpu_s(tracker))
                    self.tracker_bytes = max(self.tracker_bytes, private_bytes(tracker))

    def _runs(self) -> set[str]:
        runs = self._home / "runs"
        return {each.name for each in runs.iterdir()} if runs.is_dir() else set()

    def _tracker(self) -> int | None:
        """The supervisor's child that is not the container's init; both are told by the journal's `started`."""
        for name in self._runs() - self._known:
            with contextlib.suppress(OSError, ValueError):
                for line in (self._home / "runs" / name / "journal.jsonl").read_text().splitlines():
                    event = json.loads(line)
                    if event["event"] == "started":
                        return _sibling(event["init_pid"])
        return None

    def _server_cpu_s(self) -> float:
        try:
            return cpu_s(json.loads((self._home / "mlflow/server.json").read_bytes())["pid"])
        except (OSError, ValueError):
            return 0.0


def cpu_s(pid: int) -> float:
    """Seconds that all threads of a process have run, those that have ended too."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def private_bytes(pid: int) -> int:
    """Memory that no other process shares."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("Private_"))


def _sibling(init_pid: int) -> int | None:
    supervisor = Path(f"/proc/{init_pid}/stat").read_text().rpartition(")")[2].split()[1]
    children = Path(f"/proc/{supervisor}/task/{supervisor}/children").read_text().split()
    return next((int(child) for child in children if int(child) != init_pid), None)
