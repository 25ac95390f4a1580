"""The trials of a sweep and what is known of them: which comes next, which shall stop, which is best. No files, no processes.

A *point* of the space is run once, or with `seeds: N` as N trials that differ by `seed`; the mean over them is what the search
learns. Points that are enqueued come first, beside `trials`. Everything can be told again in the same order (`adopt`, `report`,
`tell`): a sweep that is resumed rebuilds its study from its journal.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable, Sequence
from statistics import fmean

from launcher.config.spec import Sweep
from launcher.config.sweep_dimension import Dimension
from launcher.sweep.search.best import BestPoint, best_points
from launcher.sweep.search.listed_search import ListedSearch
from launcher.sweep.search.protocol import Chosen, End, EndState, Search, combine
from runtime.light_dataclasses import dataclass, field

DEFAULT_TRIALS = 20
"""Points of a search that has no end of its own, when `sweep.trials` is not set."""


@dataclass(frozen=True, slots=True)
class Suggestion:
    """A trial to run."""

    number: int
    """From 1; `LAUNCH_TRIAL` in the program."""
    point: int
    """From 1; trials of one point differ by their seed."""
    overrides: tuple[str, ...]
    """What sets it apart: `params.lr=0.1`, `seed=2`."""


@dataclass(slots=True)
class _Point:
    number: int
    overrides: tuple[str, ...]
    searched: bool
    """Whether the search knows it; an enqueued point may lie beside the space."""
    waiting: list[int]
    """Seeds that have no trial yet. (A deque takes ten times as much, and there may be ten thousand points.)"""
    reports: dict[int, list[float]] = field(default_factory=dict)
    """Trial → its reports of the metric."""
    ends: dict[int, End] = field(default_factory=dict)
    passed_on: int = 0
    """Reports that the search has seen."""
    stopped: bool = False


class Study:
    """One sweep's trials. *base_seed*: the experiment's own; *enqueued*: overrides of points to try first."""

    def __init__(
        self,
        search: Search,
        dimensions: Sequence[Dimension],
        sweep: Sweep,
        *,
        base_seed: int = 0,
        enqueued: Sequence[tuple[str, ...]] = (),
    ) -> None:
        self._search = search
        self._dimensions = tuple(dimensions)
        self._sweep = sweep
        self._seeds = tuple(base_seed + number for number in range(sweep.seeds))
        self._enqueued = deque(enqueued)
        self._points: dict[int, _Point] = {}
        self._of_trial: dict[int, _Point] = {}
        self._open: _Point | None = None
        self._limit = sweep.trials if sweep.trials or sweep.sampler == "grid" else DEFAULT_TRIALS
        self._searched = 0
        self._doubles = sum(sweep.sampler == "grid" and self._to_chosen(point) is not None for point in enqueued)
        self.exhausted = False

    @property
    def learns(self) -> bool:
        """Whether the next point depends on how others ended."""
        return self._sweep.sampler not in ("grid", "random")

    @property
    def all_asked(self) -> bool:
        """Whether `ask` has nothing more, as far as is known without asking."""
        limited = self.exhausted or (self._limit is not None and self._searched >= self._limit)
        return limited and not self._enqueued and (self._open is None or not self._open.waiting)

    @property
    def total(self) -> int | None:
        """Trials in all; None while that is unknown. (A grid's product, or `trials`, and the enqueued points, for each seed.)"""
        beside = len(self._points) - self._searched + len(self._enqueued)
        size = self._searched if self.exhausted else self._size()
        # A resumed sweep may have asked for more than are wanted now, or than a changed space has.
        return None if size is None else (max(size, self._searched) + beside) * len(self._seeds)

    @property
    def unasked(self) -> int | None:
        """Trials that `ask` will still give, as far as is known; None while that is unknown."""
        return None if self.total is None else self.total - len(self._of_trial)

    def _size(self) -> int | None:
        if self._sweep.sampler != "grid":
            return self._limit
        size = math.prod(len(dimension.choices) for dimension in self._dimensions) - self._doubles
        return min(size, self._limit or size)

    def ask(self) -> Suggestion | None:
        """The next trial; None when all have been asked for."""
        while self._open is None or not self._open.waiting:
            self._open = self._next_point()
            if self._open is None:
                return None
        return self._begin(self._open, len(self._of_trial) + 1, self._open.waiting.pop(0))

    def adopt(self, asked: Suggestion) -> None:
        """A trial that was asked for before the sweep was interrupted, in the order of the numbers."""
        point = self._points.get(asked.point)
        if point is None:
            without_seed = asked.overrides[:-1] if len(self._seeds) > 1 else asked.overrides
            if self._enqueued and self._enqueued[0] == without_seed:
                self._enqueued.popleft()
            else:
                self._searched += 1
            self._open = point = self._add_point(without_seed)
        self._begin(point, asked.number, point.waiting.pop(0))

    def report(self, number: int, value: float) -> tuple[int, ...]:
        """The next report of the metric by trial *number*. Returns the trials that shall stop: all of the point, or none."""
        point = self._of_trial[number]
        point.reports[number].append(value)
        alive = [trial for trial in point.reports if trial not in point.ends or point.ends[trial].state is EndState.COMPLETE]
        if not point.searched or point.stopped or point.waiting:
            return ()
        # With several seeds: the mean of what all of them have reported.
        while point.passed_on < min(len(point.reports[trial]) for trial in alive):
            mean = fmean(point.reports[trial][point.passed_on] for trial in alive)
            point.passed_on += 1
            if math.isfinite(mean) and self._search.report(point.number, mean):
                point.stopped = True
                return tuple(trial for trial in alive if trial not in point.ends)
        return ()

    def restart(self, number: int) -> None:
        """Trial *number* runs again from its beginning: what it reports once more counts once."""
        self._of_trial[number].reports[number] = []

    def tell(self, number: int, end: End) -> None:
        """How trial *number* ended."""
        point = self._of_trial[number]
        point.ends[number] = end
        if point.waiting or len(point.ends) < len(point.reports):
            return
        if point.searched:
            self._search.tell(point.number, combine(list(point.ends.values())))

    def best(self) -> list[BestPoint]:
        """The best point so far; of several objectives the Pareto front. Those that keep all constraints go first."""
        return best_points(((point.overrides, point.ends) for point in self._points.values()), self._sweep.directions)

    def _next_point(self) -> _Point | None:
        if self._enqueued:
            return self._add_point(self._enqueued.popleft())
        if self._limit is not None and self._searched >= self._limit:
            return None
        chosen = self._search.ask(len(self._points) + 1)
        if chosen is None:
            self.exhausted = True
            return None
        self._searched += 1
        return self._append_point(tuple(d.assignment(chosen[d.key]) for d in self._dimensions), searched=True)

    def _add_point(self, overrides: tuple[str, ...]) -> _Point:
        """A point that the search did not choose now: enqueued, or known from before."""
        chosen = self._to_chosen(overrides)
        if chosen is not None:
            self._search.adopt(len(self._points) + 1, chosen)
        return self._append_point(overrides, searched=chosen is not None)

    def _append_point(self, overrides: tuple[str, ...], *, searched: bool) -> _Point:
        point = _Point(len(self._points) + 1, overrides, searched, list(self._seeds))
        self._points[point.number] = point
        return point

    def _begin(self, point: _Point, number: int, seed: int) -> Suggestion:
        point.reports[number] = []
        self._of_trial[number] = point
        apart = (f"seed={seed}",) if len(self._seeds) > 1 else ()
        return Suggestion(number, point.number, (*point.overrides, *apart))

    def _to_chosen(self, overrides: Sequence[str]) -> Chosen | None:
        """What the search would have called these overrides; None when they are no point of the space."""
        given = {override.partition("=")[0].lstrip("+"): override for override in overrides}
        chosen: dict[str, float | str] = {}
        for dimension in self._dimensions:
            text = given.get(dimension.key)
            if text is None:
                return None
            if dimension.choices:
                if text not in dimension.choices:
                    return None
                chosen[dimension.key] = text
            else:
                chosen[dimension.key] = float(text.partition("=")[2])
        return chosen


class JobStudy(Study):
    """The trials of a sweep that somebody else thinks up: a space without points, and a queue. Trials are numbered over all
    batches."""

    def __init__(self) -> None:
        super().__init__(ListedSearch(iter(())), [Dimension("job")], Sweep())
        self.hopeless = False
        """No more are started: what one has shown holds for all."""

    def add(self, batch: Iterable[Sequence[str]]) -> None:
        self._enqueued.extend(tuple(overrides) for overrides in batch)

    def ask(self) -> Suggestion | None:
        return None if self.hopeless else super().ask()
