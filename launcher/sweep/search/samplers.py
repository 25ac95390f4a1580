"""Samplers and pruners by name (`sweep.sampler`, `sweep.pruner`), and the search that a sweep's settings ask for.

All pruners count reports of the metric, whatever step the program logged with them.
"""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import os
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from launcher.config.spec import Pruner, Sweep
from launcher.config.sweep_dimension import Dimension
from launcher.errors import ConfigError, Origin
from launcher.sweep.search.listed_search import ListedSearch, grid_points, random_points
from launcher.sweep.search.protocol import Chosen, Search
from runtime.light_dataclasses import replace
from runtime.suggestions import did_you_mean

if TYPE_CHECKING:
    import optuna


Where = Callable[[str], Origin | None]
"""`sweep.sampler` → where it was set."""

NAMES = ("grid", "random", "tpe", "cmaes", "gp", "qmc", "nsga2")
_SEVERAL_OBJECTIVES = ("grid", "random", "tpe", "qmc", "nsga2")
_NEEDS = {"gp": ("torch", "scipy"), "cmaes": ("cmaes",)}
_TAKE_CONSTRAINTS = ("tpe", "gp", "nsga2")


def make_search(dimensions: Sequence[Dimension], sweep: Sweep, *, where: Where) -> Search:
    """The search that *sweep* describes. Raises ConfigError for what it cannot be."""
    _check(dimensions, sweep, where)
    points = _list_points(dimensions, sweep)
    if points is not None and sweep.pruner is None:
        return ListedSearch(points)
    from launcher.sweep.search.optuna_search import OptunaSearch

    sampler = _random(sweep.seed) if points is not None else _sampler(sweep, where)
    pruner = None if sweep.pruner is None else make_pruner(sweep.pruner, sweep, where=where)
    return OptunaSearch(
        _each_choice(dimensions) if points is not None else dimensions, sweep, sampler=sampler, pruner=pruner, points=points
    )


def _check(dimensions: Sequence[Dimension], sweep: Sweep, where: Where) -> None:
    name = sweep.sampler
    if name not in NAMES and not _is_import_path(name):
        there = f"there are {', '.join(NAMES)}, and classes by import path: `package.module:Sampler`"
        hint = did_you_mean(name, NAMES) or there
        raise ConfigError(f"there is no sampler `{name}`", origin=where("sweep.sampler"), hint=hint)
    if name not in ("grid", "random") and not sweep.metrics:
        raise ConfigError(
            f"the sampler `{name}` learns from a metric, and none is named",
            origin=where("sweep.sampler"),
            hint="`sweep.metric=val_accuracy sweep.direction=maximize`",
        )
    if len(sweep.metrics) > 1 and name in NAMES and name not in _SEVERAL_OBJECTIVES:
        hint = f"{', '.join(_SEVERAL_OBJECTIVES)} do"
        raise ConfigError(
            f"the sampler `{name}` optimises one metric, not {len(sweep.metrics)}", origin=where("sweep.sampler"), hint=hint
        )
    missing = [module for module in _NEEDS.get(name, ()) if importlib.util.find_spec(module) is None]
    if missing:
        hint = f"install {' and '.join(f'`{module}`' for module in missing)} beside launch, or take `sweep=tpe`"
        raise ConfigError(f"the sampler `{name}` needs {', '.join(missing)}", origin=where("sweep.sampler"), hint=hint)
    if name == "cmaes" and not any(dimension.low is not None for dimension in dimensions):
        hint = "`sweep=tpe` takes lists of choices"
        raise ConfigError(
            "the sampler `cmaes` searches intervals, and the space has none", origin=where("sweep.sampler"), hint=hint
        )


def _list_points(dimensions: Sequence[Dimension], sweep: Sweep) -> Iterator[Chosen] | None:
    if sweep.sampler == "grid":
        return grid_points(dimensions)
    return random_points(dimensions, sweep.seed) if sweep.sampler == "random" else None


def _each_choice(dimensions: Sequence[Dimension]) -> list[Dimension]:
    """Ranges as the lists that they are for a grid."""
    return [replace(dimension, low=None, high=None, step=None) if dimension.choices else dimension for dimension in dimensions]


def _random(seed: int) -> optuna.samplers.BaseSampler:
    from optuna.samplers import RandomSampler

    return RandomSampler(seed=seed)


def _sampler(sweep: Sweep, where: Where) -> optuna.samplers.BaseSampler:
    from optuna import samplers

    known: Mapping[str, Callable[..., Any]] = {
        "tpe": samplers.TPESampler,
        "cmaes": samplers.CmaEsSampler,
        "gp": samplers.GPSampler,
        "qmc": samplers.QMCSampler,
        "nsga2": samplers.NSGAIISampler,
    }
    make = known.get(sweep.sampler) or _import(sweep.sampler, where)
    options: dict[str, Any] = {"seed": sweep.seed}
    if sweep.sampler == "tpe":
        # Trials that run are taken to end badly, so that those beside them look elsewhere.
        options |= {"constant_liar": True, "multivariate": True, "warn_independent_sampling": False}
    elif sweep.sampler in ("cmaes", "qmc", "gp"):
        options |= {"warn_independent_sampling": False}
    if sweep.sampler == "qmc":
        options |= {"scramble": True, "warn_asynchronous_seeding": False}
    if sweep.constraints and sweep.sampler in _TAKE_CONSTRAINTS:
        from launcher.sweep.search.optuna_search import constraints_of

        options |= {"constraints_func": constraints_of}
    made = _make(f"the sampler `{sweep.sampler}`", make, options, sweep.sampler_options, where, key="sweep.sampler_options")
    if not isinstance(made, samplers.BaseSampler):
        hint = "derive it from `optuna.samplers.BaseSampler`"
        raise ConfigError(f"`{sweep.sampler}` does not make an Optuna sampler", origin=where("sweep.sampler"), hint=hint)
    return made


def _make(
    what: str, make: Callable[..., Any], own: Mapping[str, Any], given: Mapping[str, Any], where: Where, *, key: str
) -> Any:
    """What *make* makes of our *own* options, as far as it knows them, and those that are *given* under *key*."""
    known = inspect.signature(make).parameters
    takes_any = any(parameter.kind is parameter.VAR_KEYWORD for parameter in known.values())
    for name in given:
        if name not in known and not takes_any:
            hint = did_you_mean(name, known) or f"there are {', '.join(known)}"
            raise ConfigError(f"{what} has no option `{name}`", origin=where(f"{key}.{name}"), hint=hint)
    usable = {name: value for name, value in own.items() if name in known or takes_any}
    try:
        with warnings.catch_warnings(action="ignore"):  # Optuna calls some of its own experimental
            return make(**{**usable, **given})
    except (TypeError, ValueError) as error:
        raise ConfigError(f"{what} cannot be made: {error}", origin=where(key)) from error


def _is_import_path(name: str) -> bool:
    return ":" in name or "." in name


def _import(name: str, where: Where) -> Callable[..., Any]:
    """A person's own sampler. Its module may lie in the working directory, as `python -m` finds it."""
    module, _, attribute = name.partition(":") if ":" in name else name.rpartition(".")
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    try:
        found: Any = importlib.import_module(module)
        for part in attribute.split("."):
            found = getattr(found, part)
    except (ImportError, AttributeError) as error:
        raise ConfigError(f"the sampler `{name}` cannot be imported: {error}", origin=where("sweep.sampler")) from error
    if not callable(found):
        raise ConfigError(f"the sampler `{name}` is not a class", origin=where("sweep.sampler"))
    made: Callable[..., Any] = found
    return made


def make_pruner(pruner: Pruner, sweep: Sweep, *, where: Where) -> optuna.pruners.BasePruner:
    """The pruner that the settings describe. Raises ConfigError for what it cannot be."""
    if len(sweep.metrics) != 1:
        words = "no metric is named" if not sweep.metrics else "there are several metrics"
        raise ConfigError(
            f"trials are pruned by one metric, and {words}", origin=where("sweep.pruner"), hint="`sweep.pruner=null`"
        )
    make, options = _kinds(pruner)[pruner.kind]
    made: optuna.pruners.BasePruner = _make(
        f"the pruner `{pruner.kind}`", make, options, pruner.options, where, key="sweep.pruner.options"
    )
    return made


def _kinds(pruner: Pruner) -> dict[str, tuple[Callable[..., Any], dict[str, Any]]]:
    """Name → what makes it, and what our own settings mean to it."""
    from optuna import pruners

    first = pruner.min_reports
    halving = {"min_resource": first, "reduction_factor": pruner.reduction}
    # `n_warmup_steps`: a report is judged when its number is above; the first is number 1.
    judged = {"n_warmup_steps": first - 1}
    return {
        "asha": (pruners.SuccessiveHalvingPruner, halving),
        "hyperband": (pruners.HyperbandPruner, halving),
        "median": (pruners.MedianPruner, judged),
        "percentile": (pruners.PercentilePruner, {"percentile": 25.0, **judged}),
        "threshold": (pruners.ThresholdPruner, judged),
        "patient": (_patient, {"patience": first}),
        "wilcoxon": (pruners.WilcoxonPruner, judged),
    }


def _patient(patience: int = 1, min_delta: float = 0.0) -> optuna.pruners.BasePruner:
    """Stops when the metric has not become better within *patience* reports; nothing else is compared."""
    from optuna.pruners import PatientPruner

    return PatientPruner(None, patience=patience, min_delta=min_delta)
