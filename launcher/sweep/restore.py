"""A sweep that was interrupted, as it stands: its study told again from the log, its running trials watched again."""

from __future__ import annotations

from collections.abc import Mapping

from launcher.sweep.run_sweep import SweepRunner
from launcher.sweep.running import RunningTrial
from launcher.sweep.search.objective import reports
from launcher.sweep.search.study import Suggestion
from launcher.sweep.trial import EndedTrial
from launcher.sweep.trial_log import LoggedTrial, Try, Verdict
from launcher.tracking.record.run_record import fold


def restore(runner: SweepRunner, trials: Mapping[int, LoggedTrial]) -> None:
    """Bring *runner*, which has not begun, to where *trials* end: what is decided stays, numbering goes on."""
    opened = []
    for number in sorted(trials):
        logged = trials[number]
        runner.study.adopt(logged.asked)
        repeated = [each.reason for each in logged.tries if each.verdict is Verdict.AGAIN]
        if repeated:
            runner.reasons[number] = repeated
        if logged.end is not None:
            _restore_decided(runner, logged.asked, logged.end)
        else:
            opened.append(logged)
    for logged in opened:
        _restore_open(runner, logged)


def _restore_decided(runner: SweepRunner, asked: Suggestion, decided: Try) -> None:
    assert decided.end is not None
    if runner.settings.pruner is not None and (record := fold(runner.state.run(decided.run_id))) is not None:
        for value in reports(record, runner.settings.metrics[0]):
            runner.study.report(asked.number, value)
    runner.study.tell(asked.number, decided.end)
    assert decided.verdict is not None
    runner.ended.append(EndedTrial(asked.number, decided.overrides, decided.run_id, decided.verdict))
    runner.failures += decided.verdict is Verdict.FAILED


def _restore_open(runner: SweepRunner, logged: LoggedTrial) -> None:
    """Asked for and not started; to be tried again; or running, with a supervisor or without; or ended while nobody looked."""
    last = logged.tries[-1] if logged.tries else None
    if last is None or last.verdict is Verdict.CUT_SHORT:
        runner.backlog.append(logged.asked)
        return
    trial = runner.plan_trial(Suggestion(logged.asked.number, logged.asked.point, last.overrides))
    if last.verdict is Verdict.AGAIN:
        runner.reasons[trial.number].pop()
        runner.try_again(trial, last.reason)
        return
    run_dir = runner.state.run(last.run_id)
    if not run_dir.journal.exists():
        runner.backlog.append(logged.asked)  # its launch was killed before it began, or somebody removed the run
        return
    running = RunningTrial(trial, run_dir, runner.tail(run_dir))
    over = runner.place.adopt(running)
    if over is not None:
        runner.end(*over)
