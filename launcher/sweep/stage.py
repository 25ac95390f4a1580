"""How far a run is, as whoever counts room wants to know it: followed in its journal."""

from __future__ import annotations

from launcher.journal.run_journal import Follower
from launcher.journal.status import Stage
from launcher.sweep.capacity import Need
from runtime.state_dir import RunDir


class StagedRun:
    """A run whose journal is looked at now and then."""

    def __init__(self, run_dir: RunDir) -> None:
        self.stage = Stage.STARTING
        self._journal = Follower(run_dir.journal)

    def look(self) -> Stage:
        self.stage = self._journal.look().stage
        return self.stage

    @property
    def need(self) -> Need:
        created = self._journal.state.created
        return Need() if created is None else Need(**created.needs or {})

    @property
    def sweep_id(self) -> str | None:
        created = self._journal.state.created
        return None if created is None else created.sweep_id
