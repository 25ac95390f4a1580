"""The points of a sweep (`launch -m`): Hydra's sweep grammar on the command line, or the experiment's `sweep.space`.

One composition for each distinct set of *group* choices; everything else is a value set in the composed tree. The last
dimension varies fastest, in the order of the command line, then of the space. A grid takes the command line's lists alone where
there are some (`-m params.lr=0.1,0.01` is two runs, whatever else the space holds); a random search takes both, the command
line winning for a key.
"""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from launcher.config import overrides, resolve, traps
from launcher.config.assembly import Assembled, Request, composed, finish
from launcher.config.compose import Tree, parse_overrides, parse_sweep_value, split_groups, sweep_values
from launcher.config.spec import Sweep
from launcher.errors import ConfigError, Origin

if TYPE_CHECKING:
    from hydra.core.override_parser.types import Override

Point = tuple["Override", ...]

_RANDOM_TRIALS = 20


@dataclass(frozen=True, slots=True)
class Dimension:
    """One key and the values it takes."""

    key: str
    origin: Origin | None
    values: tuple[Override, ...] = ()
    """Each as the override that sets it; empty for an interval."""
    interval: tuple[float, float] | None = None
    integer: bool = False
    log: bool = False


@dataclass(frozen=True, slots=True)
class SweepAssembled:
    """A sweep, composed and validated to the last trial before the first is started."""

    parent: Assembled
    """The experiment with the fixed overrides, and its file's values for the keys that are swept."""
    trials: tuple[tuple[tuple[str, ...], Assembled], ...]
    """(what sets the trial apart: `params.lr=0.1`, `seed=2`; the trial)."""
    dimensions: tuple[Dimension, ...]
    fixed: tuple[str, ...]
    """The overrides that hold for every trial."""
    notes: tuple[str, ...] = ()
    """What became otherwise than one may expect: fewer points than `sweep.trials`."""


def assemble_sweep(request: Request) -> SweepAssembled:
    """Every trial of *request*."""
    parsed = parse_overrides(request.overrides)
    choices, settings = split_groups(parsed, request.path)
    typed = [_dimension(override, request) for override in parsed if override.is_sweep_override()]
    with resolve.reading_environment(request.environ) as environment:
        space = _Composer(
            request, [c for c in choices if not c.is_sweep_override()], [s for s in settings if not s.is_sweep_override()], typed
        )
        parent = finish(space.parent_tree(), request, environment)
        plan = parent.spec.sweep or Sweep()
        dimensions = _dimensions(typed, plan, parent, request, fixed={setting.key_or_group for setting in space.settings})
        points, notes = _points(plan, dimensions)
        trials = tuple(
            (tuple(str(part.input_line) for part in point), finish(space.tree(point), request, environment))
            for point in _with_seeds(points, plan, parent)
        )
    fixed = tuple(str(override.input_line) for override in parsed if not override.is_sweep_override())
    return SweepAssembled(parent, trials, tuple(dimensions), fixed, notes)


class _Composer:
    """Trees of points: one composition for each set of group choices."""

    def __init__(
        self, request: Request, choices: Sequence[Override], settings: Sequence[Override], typed: Sequence[Dimension]
    ) -> None:
        self.request, self.choices, self.settings = request, choices, settings
        self._typed = typed
        self._trees: dict[tuple[str, ...], Tree] = {}

    def parent_tree(self) -> Tree:
        """The tree without the swept values; the first value of a swept group, and of a key that must be given."""
        is_group = self.request.path.is_group
        tree = self._composed([d.values[0] for d in self._typed if is_group(d.key) and d.values]).fork()
        for dimension in self._typed:
            if dimension.values and not is_group(dimension.key) and overrides.value_at(dimension.key, tree.values) == "???":
                overrides.apply(dimension.values[0], tree.values, tree.sources, holder=self.request.cwd)
        return tree

    def tree(self, point: Point) -> Tree:
        picks = [part for part in point if self.request.path.is_group(part.key_or_group)]
        tree = self._composed(picks).fork()
        for part in point:
            if not self.request.path.is_group(part.key_or_group):
                overrides.apply(part, tree.values, tree.sources, holder=self.request.cwd)
        return tree

    def _composed(self, picks: Sequence[Override]) -> Tree:
        key = tuple(str(pick.input_line) for pick in picks)
        if key not in self._trees:
            swept = [dimension.key for dimension in self._typed]
            replaced = {pick.key_or_group for pick in picks}
            chosen = [choice for choice in self.choices if choice.key_or_group not in replaced]
            self._trees[key] = composed([*chosen, *picks], self.settings, self.request, swept=swept)
        return self._trees[key]


def _dimension(override: Override, request: Request) -> Dimension:
    """The dimension that a sweep override of the command line describes."""
    key, text = override.key_or_group, str(override.input_line)
    origin = Origin(override=text)
    if override.is_interval_sweep():
        return _interval(key, override, origin)
    value = override.value()
    if hasattr(value, "filter"):
        options = value.filter(request.path.options(key)) if value is not None else []
        if not options:
            raise ConfigError(
                f"`{text}` matches nothing", origin=origin, hint=f"there {traps.listed(request.path.options(key), verb=True)}"
            )
        return Dimension(key, origin, tuple(parse_overrides([f"{key}={option}" for option in options])))
    return Dimension(key, origin, _each(text.partition("=")[0], override))


def _each(key: str, override: Override) -> tuple[Override, ...]:
    return tuple(parse_overrides([f"{key}={value}" for value in sweep_values(override)]))


def _interval(key: str, override: Override, origin: Origin | None) -> Dimension:
    value: Any = override.value()
    integer = isinstance(value.start, int) and isinstance(value.end, int)
    return Dimension(key, origin, interval=(value.start, value.end), integer=integer, log="log" in value.tags)


def _dimensions(
    typed: Sequence[Dimension], plan: Sweep, parent: Assembled, request: Request, *, fixed: set[str]
) -> list[Dimension]:
    if plan.sampler not in ("grid", "random"):
        raise ConfigError(
            f"the sampler `{plan.sampler}` is not available",
            origin=_parent_origin("sweep.sampler", parent),
            hint="`sweep=grid` or `sweep=random`",
        )
    if plan.pruner is not None:
        raise ConfigError(
            "trials cannot be pruned in a grid or random search",
            origin=_parent_origin("sweep.pruner", parent),
            hint="`sweep.pruner=null`",
        )
    dimensions = list(typed)
    if plan.sampler != "grid" or not typed:
        taken = fixed | {dimension.key for dimension in typed}
        dimensions += [d for d in _space(plan.space, (), parent, request) if d.key not in taken]
    if not dimensions and plan.seeds == 1:
        raise ConfigError(
            "there is nothing to sweep", hint="list values, as in `params.lr=0.1,0.01`, or give the experiment a `sweep.space`"
        )
    for dimension in dimensions:
        if plan.sampler == "grid" and dimension.interval is not None:
            raise ConfigError(
                f"`{dimension.key}` is an interval, which a grid cannot enumerate",
                origin=dimension.origin,
                hint=f"add `sweep=random`, or list values: `{dimension.key}=…,…`",
            )
        if dimension.key == "seed" and plan.seeds > 1:
            raise ConfigError(
                "`seed` is swept and `sweep.seeds` is more than 1", origin=dimension.origin, hint="one of them is enough"
            )
    return dimensions


def _space(space: Mapping[str, Any], prefix: tuple[str, ...], parent: Assembled, request: Request) -> Iterator[Dimension]:
    for name, value in space.items():
        path = (*prefix, name)
        if isinstance(value, dict):
            yield from _space(value, path, parent, request)
            continue
        key = traps.dotted(path)
        origin = _parent_origin(f"sweep.space.{key}", parent)
        if not request.path.is_group(key) and not overrides.is_known(key, parent.values):
            raise traps.unknown_key(path, overrides.names_beside(path, parent.values), origin=origin)
        yield _space_dimension(key, value, origin)


def _space_dimension(key: str, value: Any, origin: Origin | None) -> Dimension:
    override = None
    if isinstance(value, str):
        try:
            override = parse_sweep_value(value)
        except ValueError as error:
            raise ConfigError(
                f"`{value}` cannot be read as values of `{key}`", origin=origin, hint="as in `choice(0.1, 0.01)`"
            ) from error
    if override is None or not override.is_sweep_override():
        listed = ", ".join(str(item) for item in value) if isinstance(value, list) else str(value)
        raise ConfigError(f"`sweep.space.{key}` is not a set of values", origin=origin, hint=f"write `choice({listed})`")
    if override.is_interval_sweep():
        return _interval(key, override, origin)
    return Dimension(key, origin, _each(key, override))


def _points(plan: Sweep, dimensions: Sequence[Dimension]) -> tuple[list[Point], tuple[str, ...]]:
    """The points, each once, and what is to be said about them."""
    enqueued = [_enqueued(point) for point in plan.enqueue]
    if plan.sampler == "grid":
        grid = list(itertools.islice(itertools.product(*(d.values for d in dimensions)), plan.trials))
        return _distinct([*enqueued, *grid]), ()
    asked = plan.trials or _RANDOM_TRIALS
    points = _distinct([*enqueued, *_random_points(dimensions, count=asked, seed=plan.seed)])
    expected = len(enqueued) + asked
    if len(points) == expected:
        return points, ()
    return points, (f"{len(points)} distinct points where {expected} were asked for: one that is drawn again runs once",)


def _distinct(points: Sequence[Point]) -> list[Point]:
    first: dict[tuple[str, ...], Point] = {}
    for point in points:
        first.setdefault(tuple(str(part.input_line) for part in point), point)
    return list(first.values())


def _with_seeds(points: Sequence[Point], plan: Sweep, parent: Assembled) -> Iterator[Point]:
    seeds = [parse_overrides([f"seed={parent.spec.seed + number}"])[0] for number in range(plan.seeds)]
    for point in points:
        for seed in seeds:
            yield (*point, seed) if plan.seeds > 1 else point


def _enqueued(point: Mapping[str, Any]) -> Point:
    return tuple(parse_overrides(overrides.assignments(point)))


def _random_points(dimensions: Sequence[Dimension], *, count: int, seed: int) -> list[Point]:
    chance = random.Random(seed)
    return [tuple(_drawn(dimension, chance) for dimension in dimensions) for _ in range(count)]


def _drawn(dimension: Dimension, chance: random.Random) -> Override:
    if dimension.interval is None:
        return chance.choice(dimension.values)
    low, high = dimension.interval
    value: float
    if dimension.log:
        value = math.exp(chance.uniform(math.log(low), math.log(high)))
    else:
        value = chance.uniform(low, high)
    # Six digits can be read and typed again; repr keeps a float a float (`1.0`). Rounding must not leave the interval.
    text = str(round(value)) if dimension.integer else repr(min(max(float(f"{value:.6g}"), float(low)), float(high)))
    return parse_overrides([f"{dimension.key}={text}"])[0]


def _parent_origin(key: str, parent: Assembled) -> Origin | None:
    text = parent.origins.get(key)
    if text is None:
        return None
    file, _, line = text.rpartition(":")
    return (
        Origin(override=text.removeprefix("command line: "))
        if text.startswith("command line: ")
        else Origin(file=file, line=int(line))
    )
