"""A sweep as its directory tells it: every trial with its point, its value and how it ended. For tables and pictures."""

from __future__ import annotations

from typing import Any

from launcher.config.spec import Sweep
from launcher.config.sweep_dimension import Dimension
from launcher.errors import ConfigError
from launcher.sweep import description
from launcher.sweep.search.best import BestPoint, best_points
from launcher.sweep.search.protocol import End, EndState
from launcher.sweep.trial_log import LoggedTrial, Verdict, read_trials
from launcher.tracking.record.run_record import RunRecord
from runtime.light_dataclasses import dataclass
from runtime.state_dir import RunDir


@dataclass(frozen=True, slots=True)
class TrialResult:
    number: int
    point: int
    overrides: tuple[str, ...]
    run_id: str | None
    """Of its last try; None when it was asked for and not started."""
    verdict: Verdict | None
    """None while it is open."""
    reason: str | None
    values: tuple[float, ...]
    violations: tuple[float, ...]
    node: str | None = None
    """Of a cluster, of its last try."""

    @property
    def end(self) -> End:
        """Of a trial that is complete."""
        return End(EndState.COMPLETE, self.values, self.violations)

    def point_overrides(self, settings: Sweep) -> tuple[str, ...]:
        """Without the seed that tells it from the others of its point."""
        return self.overrides[:-1] if settings.seeds > 1 else self.overrides

    def override_of(self, dimension: Dimension) -> str | None:
        """`params.lr=0.1`; None beside the space."""
        return next((each for each in self.overrides if each.partition("=")[0].lstrip("+") == dimension.key), None)

    def value_of(self, dimension: Dimension) -> float | str | None:
        """Where the trial lies in *dimension*: a number, or the text of a choice; None beside the space."""
        text = self.override_of(dimension)
        if text is None:
            return None
        written = text.partition("=")[2]
        if dimension.low is None and text in dimension.choices:
            known: Any = dimension.values[dimension.choices.index(text)]
            return float(known) if isinstance(known, int | float) and not isinstance(known, bool) else written
        try:
            return float(written)
        except ValueError:
            return written


@dataclass(frozen=True, slots=True)
class SweepResults:
    sweep_id: str
    settings: Sweep
    dimensions: tuple[Dimension, ...]
    trials: tuple[TrialResult, ...]

    @property
    def complete(self) -> list[TrialResult]:
        """Those that count: with a value for each metric."""
        return [trial for trial in self.trials if trial.verdict is Verdict.COMPLETE and trial.values]

    def best(self) -> list[BestPoint]:
        points: dict[int, list[TrialResult]] = {}
        for trial in self.complete:
            points.setdefault(trial.point, []).append(trial)
        ends = (({each.number: each.end for each in trials}, trials[0]) for trials in points.values())
        return best_points(((first.point_overrides(self.settings), found) for found, first in ends), self.settings.directions)

    def best_ones(self, number: int | None = None) -> list[BestPoint]:
        """The best trials, of which *number* chooses one. Raises ConfigError where there is none."""
        best = self.best()
        if not best:
            metrics = " and ".join(f"`{name}`" for name in self.settings.metrics)
            words = f"none has a value of {metrics} yet" if metrics else "the sweep names no metric"
            hint = f"`launch sweep show {self.sweep_id}` shows its trials" if metrics else "`sweep.metric` names what to optimise"
            raise ConfigError(f"sweep `{self.sweep_id}` has no best trial: {words}", hint=hint)
        if number is None:
            return best
        chosen = [each for each in best if each.trial == number]
        if not chosen:
            hint = f"`launch sweep best {self.sweep_id}` shows them"
            raise ConfigError(f"trial {number} is not among the best", hint=hint)
        return chosen

    def best_one(self, number: int | None = None) -> BestPoint:
        """As `best_ones`; raises ConfigError where there are several, too."""
        best = self.best_ones(number)
        if len(best) > 1:
            hint = "`--trial N` chooses one"
            raise ConfigError(f"{len(best)} trials are best: no one beats another in every metric", hint=hint)
        return best[0]

    def counts(self) -> dict[str, int]:
        """`complete`, `pruned`, `failed`, `open` → how many."""
        found: dict[str, int] = {}
        for trial in self.trials:
            word = str(trial.verdict) if trial.verdict is not None and trial.verdict.is_final else "open"
            found[word] = found.get(word, 0) + 1
        return found

    def to_json(self) -> dict[str, Any]:
        return {
            "sweep": self.sweep_id,
            "metrics": list(self.settings.metrics),
            "directions": list(self.settings.directions),
            "dimensions": [dimension.key for dimension in self.dimensions],
            "best": [
                {"trial": each.trial, "overrides": list(each.overrides), "values": list(each.values)} for each in self.best()
            ],
            "trials": [
                {
                    "number": trial.number,
                    "run": trial.run_id,
                    "overrides": list(trial.overrides),
                    "verdict": trial.verdict,
                    "reason": trial.reason,
                    "values": list(trial.values),
                }
                for trial in self.trials
            ],
        }


def results_of(record: RunRecord) -> SweepResults:
    """Raises ConfigError for a run that is no sweep."""
    try:
        return read_results(record.run_dir)
    except FileNotFoundError:
        if record.is_sweep:
            hint = f"`launch runs --where 'sweep = {record.run_id}' --columns run,status,metrics.return_value` lists its trials"
            raise ConfigError(f"the space of sweep `{record.run_id}` is known to the Hydra program alone", hint=hint) from None
        hint = "`launch runs --where 'trial is null and sweep is not null'` lists them"
        raise ConfigError(f"run `{record.run_id}` is not a sweep", hint=hint) from None


def read_results(run_dir: RunDir) -> SweepResults:
    """Raises FileNotFoundError for a run that is no sweep, and for one of a Hydra program."""
    described = description.read(run_dir.sweep)
    return SweepResults(run_dir.run_id, described.settings, described.dimensions, _trials(run_dir))


def read_known_results(run_dir: RunDir) -> SweepResults:
    """As `read_results`; of a Hydra program's sweep what its log tells."""
    try:
        return read_results(run_dir)
    except FileNotFoundError:
        return SweepResults(run_dir.run_id, Sweep(), (), _trials(run_dir))


def _trials(run_dir: RunDir) -> tuple[TrialResult, ...]:
    return tuple(map(_result, read_trials(run_dir.trials).values()))


def _result(logged: LoggedTrial) -> TrialResult:
    asked, last = logged.asked, logged.end or (logged.tries[-1] if logged.tries else None)
    if last is None:
        return TrialResult(asked.number, asked.point, asked.overrides, None, None, None, (), ())
    end = last.end
    values, violations = (end.values, end.violations) if end is not None else ((), ())
    return TrialResult(
        asked.number, asked.point, last.overrides, last.run_id, last.verdict, last.reason, values, violations, last.node
    )
