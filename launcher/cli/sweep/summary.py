"""The last lines of a sweep: how many did what, the best trials, where to look."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from launcher.cli import render
from launcher.config.spec import Sweep
from launcher.journal.status import Reason, RunStatus
from launcher.sweep.results import SweepResults, TrialResult
from launcher.sweep.search.best import BestPoint
from launcher.sweep.trial_log import Verdict, read_total
from launcher.tracking.lack import lack_of_sweep
from launcher.tracking.record.run_record import RunRecord, fold
from runtime.state_dir import RunDir, StateDir

_METRICS_SHOWN = 3
_TRIALS_SHOWN = 100
_FRONT_SHOWN = 10


def print_sweep_summary(parent: RunDir, state: StateDir, results: SweepResults, record: RunRecord | None) -> None:
    """Of a sweep that has ended; *record* is its parent's."""
    ended = [trial for trial in results.trials if trial.verdict is not None and trial.verdict.is_final]
    total = max(len(results.trials), read_total(parent.trials) or 0)
    _print_trials(parent.run_id, state, ended)
    render.say(f"sweep {parent.run_id}: {_counts(ended, total)}{_why(record)}")
    if record is not None and record.mlflow_url:
        render.say(f"  mlflow {record.mlflow_url}")
    if lack := lack_of_sweep(parent, (trial.run_id for trial in results.trials)):
        render.warn(lack)
    best = results.best()
    runs = {trial.number: trial.run_id or "" for trial in ended}
    for line in best_lines(best, runs, results.settings):
        render.say(f"  {line}")
    if len(best) == 1:
        render.say(f"  again  launch rerun {runs[best[0].trial]}   (the best trial)")
    if len(ended) < total and results.dimensions:  # what a Hydra program would have asked for next, it alone knows
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


def _why(record: RunRecord | None) -> str:
    """Why it ended, where the trials do not tell: all may have finished that a Hydra program asked for before Ctrl-C."""
    known = (None, Reason.COMPLETED, Reason.PROGRAM)
    return "" if record is None or record.reason in known else f" ({record.reason})"


def _counts(ended: Sequence[TrialResult], total: int) -> str:
    counted = Counter(trial.verdict for trial in ended)
    words = [f"{counted[Verdict.COMPLETE]} of {total} trials finished"]
    words += [f"{counted[Verdict.PRUNED]} pruned"] if counted[Verdict.PRUNED] else []
    words += [f"{counted[Verdict.FAILED]} failed"] if counted[Verdict.FAILED] else []
    words += [f"{total - len(ended)} not done"] if total > len(ended) else []
    return ", ".join(words)


def _print_trials(sweep_id: str, state: StateDir, trials: Sequence[TrialResult]) -> None:
    if len(trials) > _TRIALS_SHOWN:
        render.say(f"  trials  launch sweep show {sweep_id}")
        return
    rows = [
        (trial.number, trial.run_id, " ".join(trial.overrides), outcome(record))
        for trial in trials
        if trial.run_id is not None and (record := fold(state.run(trial.run_id))) is not None
    ]
    if rows:
        render.say(render.table(("TRIAL", "RUN", "OVERRIDES", "OUTCOME"), rows))
