"""Which points of a sweep are the best: one for one metric, those that no other one beats (the Pareto front) for several."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from launcher.sweep.search.protocol import End, EndState, combine
from runtime.light_dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class BestPoint:
    """A point that no other one beats."""

    trial: int
    """Its first trial that counts."""
    overrides: tuple[str, ...]
    values: tuple[float, ...]
    """One a metric: the mean over its trials that count."""
    violations: tuple[float, ...]
    seeds: int
    """Over how many trials the values are means."""


def best_points(points: Iterable[tuple[tuple[str, ...], Mapping[int, End]]], directions: Sequence[str]) -> list[BestPoint]:
    """The best of *points*, each its overrides and its trials' ends. Those that keep all constraints go before all others."""
    return best_of([found for overrides, ends in points if (found := best_point_of(overrides, ends)) is not None], directions)


def best_of(points: Sequence[BestPoint], directions: Sequence[str]) -> list[BestPoint]:
    """As `best_points`, of points whose values are known."""
    kept = [point for point in points if all(violation <= 0 for violation in point.violations)] or list(points)
    if len(directions) == 1:
        choose = max if directions[0] == "maximize" else min
        return [choose(kept, key=lambda point: point.values[0])] if kept else []
    return _front(kept, [direction == "maximize" for direction in directions])


def _front(points: Sequence[BestPoint], maximize: Sequence[bool]) -> list[BestPoint]:
    """Those that no other one beats. Each is compared with the front so far: what beats it stands there, or what beats that."""
    front: list[BestPoint] = []
    for point in points:
        if not any(_beats(other.values, point.values, maximize) for other in front):
            front = [other for other in front if not _beats(point.values, other.values, maximize)]
            front.append(point)
    return front


def best_point_of(overrides: tuple[str, ...], ends: Mapping[int, End]) -> BestPoint | None:
    """None for a point without a value: nothing of it is complete, or no metric is named."""
    end = combine(list(ends.values()))
    if end.state is not EndState.COMPLETE or not end.values:
        return None
    complete = [number for number, each in ends.items() if each.state is EndState.COMPLETE]
    return BestPoint(min(complete), overrides, end.values, end.violations, len(complete))


def _beats(one: Sequence[float], other: Sequence[float], maximize: Sequence[bool]) -> bool:
    """No worse in every objective and better in one."""
    signed = [(a, b) if up else (-a, -b) for a, b, up in zip(one, other, maximize, strict=True)]
    return all(a >= b for a, b in signed) and any(a > b for a, b in signed)
