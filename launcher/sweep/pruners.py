"""Pruners by name (`sweep.pruner`). All count reports of the metric, whatever step the program logged with them."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from launcher.config.spec import Pruner, Sweep
from launcher.errors import ConfigError, Origin
from runtime.suggestions import did_you_mean

if TYPE_CHECKING:
    import optuna


def make_pruner(pruner: Pruner, sweep: Sweep, *, where: Callable[[str], Origin | None]) -> optuna.pruners.BasePruner:
    """The pruner that the settings describe. Raises ConfigError for what it cannot be."""
    if len(sweep.metrics) != 1:
        words = "no metric is named" if not sweep.metrics else "there are several metrics"
        raise ConfigError(
            f"trials are pruned by one metric, and {words}", origin=where("sweep.pruner"), hint="`sweep.pruner=null`"
        )
    make, options = _kinds(pruner)[pruner.kind]
    known = inspect.signature(make).parameters
    for name in pruner.options:
        if name not in known:
            hint = did_you_mean(name, known) or f"there are {', '.join(known)}"
            raise ConfigError(
                f"the pruner `{pruner.kind}` has no option `{name}`", origin=where(f"sweep.pruner.options.{name}"), hint=hint
            )
    try:
        with warnings.catch_warnings(action="ignore"):  # Optuna calls some of its own experimental
            made: optuna.pruners.BasePruner = make(**{**options, **pruner.options})
    except (TypeError, ValueError) as error:
        raise ConfigError(f"the pruner `{pruner.kind}` cannot be made: {error}", origin=where("sweep.pruner")) from error
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
