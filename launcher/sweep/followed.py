"""A sweep as its log tells it, read as it grows: what runs, what ended, which trial is best; for who watches."""

from __future__ import annotations

from launcher.config.spec import Sweep
from launcher.sweep import description
from launcher.sweep.search.best import BestPoint, best_of, best_point_of
from launcher.sweep.search.protocol import End
from launcher.sweep.search.study import Suggestion
from launcher.sweep.trial_log import PlaceWords, Total, TrialLogReader, TryEnded, TryStarted, Verdict
from runtime.light_dataclasses import dataclass
from runtime.state_dir import RunDir


@dataclass(frozen=True, slots=True)
class Started:
    """A try of a trial has begun."""

    number: int
    overrides: tuple[str, ...]
    run_dir: RunDir
    gpus: float
    node: str | None
    """Of a cluster; None on the sweep's own machine."""
    at: float
    """Unix seconds."""


@dataclass(frozen=True, slots=True)
class Ended:
    """A try of a trial has ended."""

    number: int
    overrides: tuple[str, ...]
    run_dir: RunDir
    verdict: Verdict
    at: float


class FollowedSweep:
    """The sweep whose parent run is *run_dir*."""

    def __init__(self, run_dir: RunDir) -> None:
        self.settings = _settings(run_dir)
        self.total: int | None = None
        """Trials in all; None while nobody knows."""
        self.place: str | None = None
        """How it stands where the trials run, when that is a cluster."""
        self._run_dir = run_dir
        self._log = TrialLogReader(run_dir.trials)
        self._point_of: dict[int, int] = {}
        self._points: dict[int, tuple[tuple[str, ...], dict[int, End]]] = {}
        """Point → its overrides and how its trials ended."""
        self._running: dict[int, Started] = {}
        self._counted: dict[int, BestPoint] = {}
        """Point → what it comes to; only those that have a value."""
        self._best: list[BestPoint] | None = []

    def new_events(self) -> list[Started | Ended]:
        """What happened since the last call."""
        return [event for entry in self._log.new_entries() if (event := self._take_in(entry)) is not None]

    def best(self) -> list[BestPoint]:
        """As `Study.best`."""
        if self._best is None:
            self._best = best_of(list(self._counted.values()), self.settings.directions)
        return self._best

    def _take_in(self, entry: Total | PlaceWords | Suggestion | TryStarted | TryEnded) -> Started | Ended | None:
        if isinstance(entry, Total):
            self.total = entry.trials
        elif isinstance(entry, PlaceWords):
            self.place = entry.words
        elif isinstance(entry, Suggestion):
            self._point_of[entry.number] = entry.point
            overrides = entry.overrides[:-1] if self.settings.seeds > 1 else entry.overrides
            self._points.setdefault(entry.point, (overrides, {}))
        elif isinstance(entry, TryStarted):
            begun = Started(entry.number, entry.overrides, self._run(entry.run_id), entry.gpus, entry.node, entry.at)
            self._running[entry.number] = begun
            return begun
        else:
            return self._ended(entry)
        return None

    def _ended(self, entry: TryEnded) -> Ended:
        begun = self._running.pop(entry.number, None)
        if entry.end is not None:
            self._count(self._point_of[entry.number], entry.number, entry.end)
        overrides = begun.overrides if begun is not None else ()
        return Ended(entry.number, overrides, self._run(entry.run_id), entry.verdict, entry.at)

    def _count(self, point: int, number: int, end: End) -> None:
        overrides, ends = self._points[point]
        ends[number] = end
        found = best_point_of(overrides, ends)
        if found is not None:
            self._counted[point] = found
            self._best = None

    def _run(self, run_id: str) -> RunDir:
        return self._run_dir.state.run(run_id)


def _settings(run_dir: RunDir) -> Sweep:
    try:
        return description.read(run_dir.sweep).settings
    except FileNotFoundError:
        return Sweep()  # a Hydra program's: it has no metric that we know
