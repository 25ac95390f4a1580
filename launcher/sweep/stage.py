"""How far a run is, as whoever counts room wants to know it: followed in its journal."""

from __future__ import annotations

from enum import Enum, auto

from launcher.journal.journal import Follower
from launcher.sweep.capacity import Need
from runtime.state_dir import RunDir


class Stage(Enum):
    COMING = auto()
    """It is about to take what it needs."""
    IN_LINE = auto()
    """It stands in line for GPUs."""
    HOLDING = auto()
    ENDED = auto()
    """Its container and its lease are gone; what is left is to send its record to MLflow."""


_STAGES = {
    "waiting": Stage.IN_LINE,
    "leased": Stage.HOLDING,
    "attempt": Stage.COMING,
    "finished": Stage.ENDED,
    "resumed": Stage.COMING,
}
"""Journal event → stage from then on."""


class StagedRun:
    """A run whose journal is looked at now and then."""

    def __init__(self, run_dir: RunDir) -> None:
        self.stage = Stage.COMING
        self.need = Need()
        self.sweep_id: str | None = None
        self._follower = Follower(run_dir.journal)

    def look(self) -> Stage:
        for event in self._follower.new_events():
            self.stage = _STAGES.get(event.name, self.stage)
            if event.name == "created":
                self.need = Need(**event.get("needs") or {})
                self.sweep_id = event.get("sweep_id")
        return self.stage
