"""The last lines of a sweep: how many did what, the best trials, where to look."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from launcher.cli import render
from launcher.config.spec import Sweep
from launcher.sweep.best import BestPoint
from launcher.sweep.run_sweep import SweepEnd
from launcher.sweep.trial import EndedTrial
from launcher.sweep.trial_log import Verdict
from launcher.tracking.record import RunRecord, fold
from launcher.tracking.status import RunStatus
from runtime.state_dir import RunDir, StateDir

_METRICS_SHOWN = 3
_TRIALS_SHOWN = 100
_FRONT_SHOWN = 10


def print_sweep_summary(parent: RunDir, state: StateDir, end: SweepEnd, total: int, sweep: Sweep) -> None:
    _print_trials(parent.run_id, state, end.trials)
    render.say(f"sweep {parent.run_id}: {_counts(end, total)}")
    recorded = fold(parent)
    if recorded is not None and recorded.mlflow_url:
        render.say(f"  mlflow {recorded.mlflow_url}")
    runs = {trial.number: trial.run_id for trial in end.trials}
    for line in best_lines(end.best, runs, sweep):
        render.say(f"  {line}")
    if len(end.best) == 1:
        render.say(f"  again  launch rerun {runs[end.best[0].trial]}   (the best trial)")
    if len(end.trials) < total:
        render.say(f"  go on  launch resume {parent.run_id}")


def best_lines(best: Sequence[BestPoint], runs: Mapping[int, str], sweep: Sweep) -> Iterator[str]:
    """`best   trial 5, run e9a519: val_accuracy 0.95 with params.lr=0.005`, one for each that no other one beats."""
    for each in best[:_FRONT_SHOWN]:
        mean = f" (mean of {each.seeds} seeds)" if each.seeds > 1 else ""
        values = "  ".join(f"{name} {render.number(value)}" for name, value in zip(sweep.metrics, each.values, strict=True))
        broken = "" if all(violation <= 0 for violation in each.violations) else ", which breaks a constraint"
        yield f"best   trial {each.trial}, run {runs[each.trial]}: {values}{mean} with {' '.join(each.overrides)}{broken}"
    if len(best) > _FRONT_SHOWN:
        yield f"and {len(best) - _FRONT_SHOWN} more that no other trial beats"


def outcome(record: RunRecord) -> str:
    """`finished 3.2 s  val_accuracy 0.97`"""
    words = "finished"
    if record.reason == "pruned":
        words = "pruned"
    elif record.status is not RunStatus.FINISHED:
        words = f"{record.status.value.lower()} ({record.reason}, exit code {record.exit_code})"
    metrics = "  ".join(f"{name} {render.number(value)}" for name, value in list(record.metrics.items())[:_METRICS_SHOWN])
    return f"{words} {render.duration(record.duration_s)}  {metrics}".rstrip()


def _counts(end: SweepEnd, total: int) -> str:
    finished, pruned = end.count(Verdict.COMPLETE), end.count(Verdict.PRUNED)
    words = [f"{finished} of {total} trials finished"]
    words += [f"{pruned} pruned"] if pruned else []
    failed = end.count(Verdict.FAILED)
    words += [f"{failed} failed"] if failed else []
    words += [f"{total - len(end.trials)} not done"] if total > len(end.trials) else []
    return ", ".join(words)


def _print_trials(sweep_id: str, state: StateDir, trials: Sequence[EndedTrial]) -> None:
    if len(trials) > _TRIALS_SHOWN:
        render.say(f"  trials  launch sweep show {sweep_id}")
        return
    rows = [
        (trial.number, trial.run_id, " ".join(trial.overrides), outcome(record))
        for trial in trials
        if (record := fold(state.run(trial.run_id))) is not None
    ]
    if rows:
        render.say(render.table(("TRIAL", "RUN", "OVERRIDES", "OUTCOME"), rows))
