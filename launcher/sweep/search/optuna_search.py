"""Searches by Optuna: its samplers and pruners on ask and tell. The study lives in memory only: the sweep's journal is the truth.

The resource that a pruner sees is the number of reports of the metric, whatever step the program logged: steps that count batches
would prune nearly everything at the first report, and steps that are all 0 nothing.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from launcher.config.spec import Sweep
from launcher.config.sweep_dimension import Dimension
from launcher.sweep.search.listed_search import ListedSearch
from launcher.sweep.search.protocol import Chosen, End, EndState

if TYPE_CHECKING:
    import optuna

_CONSTRAINTS = "constraints"


class OptunaSearch:
    """One study in memory. *points* are tried in the place of what the sampler would choose: a grid that is pruned."""

    def __init__(
        self,
        dimensions: Sequence[Dimension],
        sweep: Sweep,
        *,
        sampler: optuna.samplers.BaseSampler,
        pruner: optuna.pruners.BasePruner | None,
        points: Iterator[Chosen] | None = None,
    ) -> None:
        import optuna

        optuna.logging.set_verbosity(optuna.logging.ERROR)
        warnings.filterwarnings("ignore", module="optuna")
        self._optuna = optuna
        self._dimensions = tuple(dimensions)
        self._distributions = {dimension.key: distribution(dimension) for dimension in dimensions}
        directions = [optuna.study.StudyDirection[direction.upper()] for direction in sweep.directions]
        self._study = optuna.create_study(directions=directions, sampler=sampler, pruner=pruner or optuna.pruners.NopPruner())
        self._points = None if points is None else ListedSearch(points)
        self._trials: dict[int, optuna.Trial] = {}
        self._reports: dict[int, int] = {}

    def ask(self, number: int) -> Chosen | None:
        if self._points is not None:
            point = self._points.ask(number)
            if point is None:
                return None
            self._study.enqueue_trial(dict(point))
        return dict(self._begin(number))

    def adopt(self, number: int, chosen: Chosen) -> None:
        if self._points is not None:
            self._points.adopt(number, chosen)
        known = {key: value for key, value in chosen.items() if key in self._distributions}
        self._study.enqueue_trial({key: self._exact(key, value) for key, value in known.items()})
        self._begin(number)

    def report(self, number: int, value: float) -> bool:
        trial = self._trials.get(number)
        if trial is None or len(self._study.directions) > 1:
            return False
        self._reports[number] = step = self._reports.get(number, 0) + 1
        trial.report(value, step)
        return bool(trial.should_prune())

    def tell(self, number: int, end: End) -> None:
        trial = self._trials.pop(number)
        self._reports.pop(number, None)
        states = self._optuna.trial.TrialState
        if end.violations:
            trial.set_user_attr(_CONSTRAINTS, list(end.violations))
        if end.state is EndState.COMPLETE:
            self._study.tell(trial, list(end.values))
        else:
            self._study.tell(trial, state=states.PRUNED if end.state is EndState.PRUNED else states.FAIL)

    def _begin(self, number: int) -> Mapping[str, Any]:
        trial = self._study.ask(self._distributions)
        self._trials[number] = trial
        return trial.params

    def _exact(self, key: str, value: float | str) -> Any:
        """A number as its distribution has it: six digits were written down."""
        distribution = self._distributions[key]
        if isinstance(distribution, self._optuna.distributions.CategoricalDistribution):
            return value
        value = float(value.partition("=")[2] if isinstance(value, str) else value)
        return int(value) if isinstance(distribution, self._optuna.distributions.IntDistribution) else value


def constraints_of(trial: optuna.trial.FrozenTrial) -> Sequence[float]:
    """For samplers that take constraints: what `tell` noted; a trial without is taken to keep them."""
    noted: Sequence[float] = trial.user_attrs.get(_CONSTRAINTS, [0.0])
    return noted


def distribution(dimension: Dimension) -> optuna.distributions.BaseDistribution:
    """What Optuna draws from."""
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    if dimension.low is None or dimension.high is None:
        return CategoricalDistribution(dimension.choices)
    if dimension.integer:
        return IntDistribution(int(dimension.low), int(dimension.high), log=dimension.log, step=int(dimension.step or 1))
    return FloatDistribution(float(dimension.low), float(dimension.high), log=dimension.log, step=dimension.step)
