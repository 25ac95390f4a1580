"""A sweep as its log tells it, read as it grows: what runs, what ended, which trial is best; for who watches."""

from __future__ import annotations

from dataclasses import dataclass

from launcher.config.spec import Sweep
from launcher.journal.journal import Event, Follower
from launcher.sweep import description
from launcher.sweep.search.best import BestPoint, best_of, best_point_of
from launcher.sweep.search.protocol import End, EndState
from launcher.sweep.trial_log import Verdict
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
        self._log = Follower(run_dir.trials)
        self._point_of: dict[int, int] = {}
        self._points: dict[int, tuple[tuple[str, ...], dict[int, End]]] = {}
        """Point → its overrides and how its trials ended."""
        self._running: dict[int, Started] = {}
        self._counted: dict[int, BestPoint] = {}
        """Point → what it comes to; only those that have a value."""
        self._best: list[BestPoint] | None = []

    def new_events(self) -> list[Started | Ended]:
        """What happened since the last call."""
        return [found for event in self._log.new_events() if (found := self._take_in(event)) is not None]

    def best(self) -> list[BestPoint]:
        """As `Study.best`."""
        if self._best is None:
            self._best = best_of(list(self._counted.values()), self.settings.directions)
        return self._best

    def _take_in(self, event: Event) -> Started | Ended | None:
        if event.name == "total":
            self.total = event.get("trials")
            return None
        if event.name == "place":
            self.place = event.get("words")
            return None
        number = int(event.get("number"))
        if event.name == "asked":
            overrides = tuple(event.get("overrides"))
            self._point_of[number] = int(event.get("point"))
            self._points.setdefault(self._point_of[number], (overrides[:-1] if self.settings.seeds > 1 else overrides, {}))
            return None
        if event.name == "started":
            return self._started(number, event)
        return self._ended(number, event)

    def _started(self, number: int, event: Event) -> Started:
        run_dir = self._run_of(event)
        gpus, node = float(event.get("gpus") or 0), event.get("node")
        begun = Started(number, tuple(event.get("overrides")), run_dir, gpus, node, event.at)
        self._running[number] = begun
        return begun

    def _ended(self, number: int, event: Event) -> Ended:
        verdict, begun = Verdict(event.get("verdict")), self._running.pop(number, None)
        if verdict.is_final:
            end = End(EndState(verdict), tuple(event.get("values", ())), tuple(event.get("violations", ())))
            self._count(self._point_of[number], number, end)
        return Ended(number, begun.overrides if begun is not None else (), self._run_of(event), verdict, event.at)

    def _count(self, point: int, number: int, end: End) -> None:
        overrides, ends = self._points[point]
        ends[number] = end
        found = best_point_of(overrides, ends)
        if found is not None:
            self._counted[point] = found
            self._best = None

    def _run_of(self, event: Event) -> RunDir:
        return RunDir(self._run_dir.root.with_name(str(event.get("run_id"))))


def _settings(run_dir: RunDir) -> Sweep:
    try:
        return description.read(run_dir.sweep).settings
    except FileNotFoundError:
        return Sweep()  # a Hydra program's: it has no metric that we know
