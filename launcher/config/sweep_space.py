"""The space of a sweep (`launch -m`): Hydra's sweep grammar on the command line, or the experiment's `sweep.space`.

One composition for each distinct set of *group* choices; everything else is a value set in the composed tree (0.9 ms a trial). A
grid takes the command line's lists alone where there are some (`-m params.lr=0.1,0.01` is two runs, whatever the space holds).
Any other search takes both, the command line winning for a key. Which points are tried, and when, is `launcher.sweep`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from launcher.config import overrides, resolve, traps
from launcher.config.assembly import Assembly, compose_tree, finish
from launcher.config.compose import ConfigTree, parse_overrides, parse_sweep_value, split_groups, sweep_values
from launcher.config.hydra_text import assignments
from launcher.config.project import Request
from launcher.config.spec import Sweep
from launcher.config.sweep_dimension import Dimension
from launcher.errors import ConfigError, Origin
from runtime.light_dataclasses import dataclass

if TYPE_CHECKING:
    from hydra.core.override_parser.types import Override


@dataclass(frozen=True, slots=True)
class SweepSpace:
    """A sweep before its first trial: each value of each dimension has been composed and validated."""

    parent: Assembly
    """The experiment with the fixed overrides, and its files' values for the keys that are swept."""
    dimensions: tuple[Dimension, ...]
    enqueued: tuple[tuple[str, ...], ...]
    """`sweep.enqueue`: the overrides of points to try first."""
    fixed: tuple[str, ...]
    """The overrides that hold for every trial."""
    _composer: _Composer

    def trial(self, point: Sequence[str]) -> Assembly:
        """The experiment with the overrides of *point*."""
        return self._composer.of_point(point)


def assemble_space(request: Request) -> SweepSpace:
    """The space of *request*. Raises ConfigError for whatever is wrong with it, and for any value that a trial could not have."""
    written = parse_overrides(request.overrides)
    # The last word on a key holds, as it does without a sweep; `launch resume` adds its words to those of the sweep.
    last = {override.key_or_group: place for place, override in enumerate(written)}
    parsed = [each for place, each in enumerate(written) if not each.is_sweep_override() or last[each.key_or_group] == place]
    choices, settings = split_groups(parsed, request.path)
    typed = [_dimension(override, request) for override in parsed if override.is_sweep_override()]
    composer = _Composer(
        request, [c for c in choices if not c.is_sweep_override()], [s for s in settings if not s.is_sweep_override()], typed
    )
    parent = composer.parent()
    plan = parent.spec.sweep or Sweep()
    dimensions = _dimensions(typed, plan, parent, request, fixed={setting.key_or_group for setting in composer.settings})
    enqueued = tuple(_enqueue(point, dimensions, parent) for point in plan.enqueue)
    _try_each_value(composer, dimensions)
    for point in enqueued:
        composer.try_point(point)
    fixed = tuple(str(override.input_line) for override in parsed if not override.is_sweep_override())
    return SweepSpace(parent, tuple(dimensions), enqueued, fixed, composer)


_TRIED_KEPT = 256
"""More would be memory that grows with the space."""


class _Composer:
    """Trees of points: one composition for each set of group choices."""

    def __init__(
        self, request: Request, choices: Sequence[Override], settings: Sequence[Override], typed: Sequence[Dimension]
    ) -> None:
        self.request, self.choices, self.settings = request, choices, settings
        self._typed = typed
        self._trees: dict[tuple[str, ...], ConfigTree] = {}
        self._tried: dict[tuple[str, ...], Assembly] = {}

    def parent(self) -> Assembly:
        """The tree without the swept values; the first value of a swept group, and of a key that must be given."""
        is_group = self.request.path.is_group
        with resolve.reading_environment(self.request.environ) as environment:
            picks = [self._first(dimension) for dimension in self._typed if is_group(dimension.key)]
            tree = self._compose(picks).fork()
            for dimension in self._typed:
                if not is_group(dimension.key) and overrides.value_at(dimension.key, tree.values) == "???":
                    overrides.apply(self._first(dimension), tree.values, tree.sources, holder=self.request.cwd)
            return finish(tree, self.request, environment)

    def try_point(self, point: Sequence[str]) -> None:
        """See whether a trial could have it. The first of those that are tried are kept for their trial."""
        tried = self.assemble(parse_overrides(point))
        if len(self._tried) < _TRIED_KEPT:
            self._tried[tuple(point)] = tried

    def of_point(self, point: Sequence[str]) -> Assembly:
        return self._tried.pop(tuple(point), None) or self.assemble(parse_overrides(point))

    def assemble(self, point: Sequence[Override]) -> Assembly:
        with resolve.reading_environment(self.request.environ) as environment:
            picks = [part for part in point if self.request.path.is_group(part.key_or_group)]
            tree = self._compose(picks).fork()
            for part in point:
                if not self.request.path.is_group(part.key_or_group):
                    overrides.apply(part, tree.values, tree.sources, holder=self.request.cwd)
            return finish(tree, self.request, environment)

    @staticmethod
    def _first(dimension: Dimension) -> Override:
        return parse_overrides([dimension.first])[0]

    def _compose(self, picks: Sequence[Override]) -> ConfigTree:
        key = tuple(str(pick.input_line) for pick in picks)
        if key not in self._trees:
            swept = [dimension.key for dimension in self._typed]
            replaced = {pick.key_or_group for pick in picks}
            chosen = [choice for choice in self.choices if choice.key_or_group not in replaced]
            self._trees[key] = compose_tree([*chosen, *picks], self.settings, self.request, swept=swept)
        return self._trees[key]


def _try_each_value(composer: _Composer, dimensions: Sequence[Dimension]) -> None:
    """Each value of each dimension beside the first ones of the others: what is wrong shows before the first trial starts."""
    firsts = [dimension.first for dimension in dimensions]
    for place, dimension in enumerate(dimensions):
        ends = [dimension.assignment(end) for end in (dimension.low or 0, dimension.high or 0)] if dimension.is_interval else ()
        for value in (*dimension.choices, *ends):
            composer.try_point([*firsts[:place], value, *firsts[place + 1 :]])


def _dimension(override: Override, request: Request) -> Dimension:
    """The dimension that a sweep override of the command line describes."""
    key, text = override.key_or_group, str(override.input_line)
    origin = Origin(override=text)
    value = override.value()
    if not override.is_interval_sweep() and hasattr(value, "filter"):
        options = value.filter(request.path.options(key)) if value is not None else []
        if not options:
            raise ConfigError(
                f"`{text}` matches nothing", origin=origin, hint=f"there {traps.join_names(request.path.options(key), verb=True)}"
            )
        return Dimension(key, origin, tuple(f"{key}={option}" for option in options), tuple(options))
    return _to_dimension(key, text.partition("=")[0], override, origin)


def _to_dimension(key: str, written_key: str, override: Override, origin: Origin | None) -> Dimension:
    """An interval, a range or a choice."""
    value: Any = override.value()
    if override.is_interval_sweep():
        integer = isinstance(value.start, int) and isinstance(value.end, int)
        return Dimension(key, origin, low=value.start, high=value.end, integer=integer, log="log" in value.tags)
    choices = tuple(f"{written_key}={text}" for text in sweep_values(override))
    values: tuple[Any, ...] = tuple(each.value() for each in parse_overrides(choices))
    if not override.is_range_sweep() or len(values) < 2:
        return Dimension(key, origin, choices, values)
    low, high, step = min(values), max(values), abs(value.step)
    return Dimension(key, origin, choices, values, low, high, step, integer=all(isinstance(each, int) for each in values))


def _dimensions(
    typed: Sequence[Dimension], plan: Sweep, parent: Assembly, request: Request, *, fixed: set[str]
) -> list[Dimension]:
    dimensions = list(typed)
    if plan.sampler != "grid" or not typed:
        taken = fixed | {dimension.key for dimension in typed}
        dimensions += [d for d in _space(plan.space, (), parent, request) if d.key not in taken]
    if not dimensions and plan.seeds == 1:
        raise ConfigError(
            "there is nothing to sweep", hint="list values, as in `params.lr=0.1,0.01`, or give the experiment a `sweep.space`"
        )
    for dimension in dimensions:
        if dimension.key.partition(".")[0] == "sweep":
            meant = dimension.key.removeprefix("sweep.space.")
            hint = f"a dimension of the space has the key itself: `{meant}=…`" if meant != dimension.key else None
            raise ConfigError(f"`{dimension.key}` is of the sweep and not of a trial", origin=dimension.origin, hint=hint)
        if plan.sampler == "grid" and dimension.is_interval:
            raise ConfigError(
                f"`{dimension.key}` is an interval, which a grid cannot enumerate",
                origin=dimension.origin,
                hint=f"add `sweep=random` or `sweep=tpe`, or list values: `{dimension.key}=…,…`",
            )
        if dimension.key == "seed" and plan.seeds > 1:
            raise ConfigError(
                "`seed` is swept and `sweep.seeds` is more than 1", origin=dimension.origin, hint="one of them is enough"
            )
    return dimensions


def _space(space: Mapping[str, Any], prefix: tuple[str, ...], parent: Assembly, request: Request) -> Iterator[Dimension]:
    for name, value in space.items():
        path = (*prefix, name)
        if isinstance(value, dict):
            yield from _space(value, path, parent, request)
            continue
        key = traps.dotted(path)
        text = parent.origins.get(f"sweep.space.{key}")
        origin = None if text is None else Origin.parse(text)
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
    return _to_dimension(key, key, override, origin)


def _enqueue(point: Mapping[str, Any], dimensions: Sequence[Dimension], parent: Assembly) -> tuple[str, ...]:
    """A point of `sweep.enqueue` as overrides; what it leaves out has the experiment's own value, where the space has that.
    A value outside the space is tried all the same, and the search learns nothing from it."""
    given = {override.key_or_group: override for override in parse_overrides(assignments(point))}
    texts = []
    for dimension in dimensions:
        override = given.pop(dimension.key, None)
        own = parent.choices.get(dimension.key) or overrides.value_at(dimension.key, parent.values)
        found = dimension.find(override.value() if override is not None else own)
        if found is not None:
            texts.append(dimension.assignment(found))
        elif override is not None:
            texts.append(str(override.input_line))
    return (*texts, *(str(override.input_line) for override in given.values()))
