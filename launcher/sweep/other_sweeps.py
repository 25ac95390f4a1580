"""What else runs under this LAUNCH_HOME, and the file in which sweeps tell each other that they wait for room.

There is no daemon. Whoever starts a trial looks at the runs that have not ended (`StateDir.active`), under one lock for looking
and starting. A sweep that waits holds a lock on a file in its parent's directory, which says what it needs: killed, it waits no
longer.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager

from launcher.journal.status import Stage
from launcher.sweep.capacity import Load, Need, Rival
from launcher.sweep.stage import StagedRun
from runtime.file_lock import is_locked, locked, open_locked
from runtime.light_dataclasses import asdict
from runtime.state_dir import RunDir, StateDir


class OtherSweeps:
    """The other runs, as the sweep *parent* sees them."""

    def __init__(self, state: StateDir, parent: RunDir) -> None:
        self._state = state
        self._parent = parent
        self._known: dict[str, StagedRun] = {}
        self._waiting_fd: int | None = None
        self._announced: Need | None = None
        self.served_at = time.time()

    @contextmanager
    def admission_lock(self) -> Iterator[None]:
        """No other sweep starts a trial during the body."""
        with locked(self._state.locks / "trials.lock"):
            yield

    def current_load(self) -> Load:
        """Exact under `admission_lock`, but for runs without a sweep."""
        living = {run_dir.run_id: run_dir for run_dir in self._state.active.own_runs() if is_locked(run_dir.supervisor_lock)}
        self._known = {run_id: self._known.get(run_id) or StagedRun(run_dir) for run_id, run_dir in living.items()}
        for run in self._known.values():
            run.look()
        runs: list[Need] = []
        trials: dict[str, list[Need]] = {run_id: [] for run_id, run in self._known.items() if run.sweep_id == run_id}
        for run_id, run in self._known.items():
            if run.sweep_id in (run_id, self._parent.run_id) or run.stage in (Stage.ENDED, Stage.QUEUED):
                continue
            trials.get(run.sweep_id or "", runs).append(run.need)
        trials.pop(self._parent.run_id, None)
        return Load(tuple(runs), tuple(self._rival(living[sweep], needs) for sweep, needs in trials.items()))

    def wait(self, need: Need) -> None:
        """Let the others know that we wait for room."""
        if need == self._announced:
            return
        if self._waiting_fd is None:
            self._waiting_fd = open_locked(self._parent.waits_for_room)
        os.ftruncate(self._waiting_fd, 0)
        os.pwrite(self._waiting_fd, json.dumps({"need": asdict(need), "served_at": self.served_at}).encode(), 0)
        self._announced = need

    def wait_no_longer(self) -> None:
        if self._waiting_fd is not None:
            os.close(self._waiting_fd)
        self._waiting_fd = self._announced = None

    def note_start(self) -> None:
        """We have started a trial."""
        self.served_at = time.time()
        self.wait_no_longer()

    def _rival(self, parent: RunDir, needs: list[Need]) -> Rival:
        if not is_locked(parent.waits_for_room):
            return Rival(tuple(needs))
        try:
            waits = json.loads(parent.waits_for_room.read_bytes())
            return Rival(tuple(needs), Need(**waits["need"]), waits["served_at"])
        except (OSError, ValueError, KeyError):
            return Rival(tuple(needs))  # it is writing just now
