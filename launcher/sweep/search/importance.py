"""How much each dimension of a sweep matters for its first metric: fANOVA (Hutter et al., ICML 2014), by Optuna."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from typing import Any

from launcher.sweep.results import SweepResults, TrialResult
from launcher.sweep.search.optuna_search import distribution
from runtime.light_dataclasses import dataclass, field

_FEWEST = 10
_FEWEST_A_DIMENSION = 5
"""With fewer trials the forest that fANOVA is made of finds an order in noise."""
_MOST = 150
"""Of more trials so many are drawn, by lot: more take seconds and move no share by more than a few hundredths."""


@dataclass(frozen=True, slots=True)
class Importance:
    """What mattered, and how much stands behind that."""

    trials: int
    """How many it is drawn from."""
    needed: int
    """Below that nothing is said."""
    shares: Mapping[str, float] = field(default_factory=dict)
    """Key → share of the variance that it explains, most first; empty where nothing can be said."""


def importances(results: SweepResults) -> Importance:
    """Empty, too, where a dimension has one value only, or all values are equal."""
    distributions = {dimension.key: distribution(dimension) for dimension in results.dimensions}
    placed = ((_params(trial, results), trial.values[0]) for trial in results.complete)
    usable = [
        (params, value) for params, value in placed if all(_holds(distributions[key], each) for key, each in params.items())
    ]
    needed = max(_FEWEST, _FEWEST_A_DIMENSION * len(distributions))
    if len(usable) < needed:
        return Importance(len(usable), needed)
    drawn = usable if len(usable) <= _MOST else random.Random(0).sample(usable, _MOST)
    return Importance(len(usable), needed, _shares(drawn, distributions))


def _shares(trials: Sequence[tuple[dict[str, Any], float]], distributions: Mapping[str, Any]) -> dict[str, float]:
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study()
    for params, value in trials:
        study.add_trial(optuna.trial.create_trial(params=params, distributions=dict(distributions), value=value))
    try:
        # Optuna 5 takes PED-ANOVA by default, which asks the best tenth of the trials: of twenty that is two.
        evaluator = optuna.importance.FanovaImportanceEvaluator(seed=0)
        return dict(optuna.importance.get_param_importances(study, evaluator=evaluator))
    except (RuntimeError, ValueError, ImportError):
        return {}


def _params(trial: TrialResult, results: SweepResults) -> dict[str, float | str | None]:
    found: dict[str, float | str | None] = {}
    for dimension in results.dimensions:
        text = trial.override_of(dimension)
        if text is None or dimension.low is None:
            found[dimension.key] = text
        else:
            value = float(text.partition("=")[2])
            found[dimension.key] = int(value) if dimension.integer else value
    return found


def _holds(known: Any, value: object) -> bool:
    """Whether a distribution of Optuna's has *value*: a trial may lie beside the space."""
    try:
        return value is not None and bool(known._contains(known.to_internal_repr(value)))
    except ValueError:
        return False
