"""How much each dimension of a sweep matters for its first metric: fANOVA (Hutter et al., ICML 2014), by Optuna."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from launcher.sweep.optuna_search import distribution
from launcher.sweep.results import SweepResults, TrialResult

_FEWEST = 4


def importances(results: SweepResults) -> Mapping[str, float]:
    """Key → share of the variance that it explains, most first; empty where there are too few trials to say."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    distributions = {dimension.key: distribution(dimension) for dimension in results.dimensions}
    study = optuna.create_study()
    for trial in results.complete:
        params = _params(trial, results)
        if all(_holds(distributions[key], value) for key, value in params.items()):
            study.add_trial(optuna.trial.create_trial(params=params, distributions=distributions, value=trial.values[0]))
    if len(study.trials) < _FEWEST:
        return {}
    try:
        return dict(optuna.importance.get_param_importances(study))
    except (RuntimeError, ValueError, ImportError):
        return {}  # one dimension with one value, or all values equal


def _params(trial: TrialResult, results: SweepResults) -> dict[str, float | str | None]:
    found: dict[str, float | str | None] = {}
    for dimension in results.dimensions:
        text = next((each for each in trial.overrides if each.partition("=")[0].lstrip("+") == dimension.key), None)
        if text is None:
            found[dimension.key] = None
        elif dimension.low is None:
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
