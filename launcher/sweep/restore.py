"""A sweep that was interrupted, as it stands: its study told again from the log, its running trials watched again."""

from __future__ import annotations

from collections.abc import Mapping

from launcher.sweep.run_sweep import SweepRunner
from launcher.sweep.running import Running
from launcher.sweep.search.objective import reports
from launcher.sweep.search.study import Asked
from launcher.sweep.trial import EndedTrial
from launcher.sweep.trial_log import LoggedTrial, Try, Verdict
from launcher.tracking.record.run_record import fold


def restore(sweeping: SweepRunner, trials: Mapping[int, LoggedTrial]) -> None:
    """Bring *sweeping*, which has not begun, to where *trials* end: what is decided stays, numbering goes on."""
    opened = []
    for number in sorted(trials):
        logged = trials[number]
        sweeping.study.adopt(logged.asked)
        repeated = [each.reason for each in logged.tries if each.verdict is Verdict.AGAIN]
        if repeated:
            sweeping.reasons[number] = repeated
        if logged.end is not None:
            _restore_decided(sweeping, logged.asked, logged.end)
        else:
            opened.append(logged)
    for logged in opened:
        _restore_open(sweeping, logged)


def _restore_decided(sweeping: SweepRunner, asked: Asked, decided: Try) -> None:
    assert decided.end is not None
    if sweeping.settings.pruner is not None and (record := fold(sweeping.state.run(decided.run_id))) is not None:
        for value in reports(record, sweeping.settings.metrics[0]):
            sweeping.study.report(asked.number, value)
    sweeping.study.tell(asked.number, decided.end)
    assert decided.verdict is not None
    sweeping.ended.append(EndedTrial(asked.number, decided.overrides, decided.run_id, decided.verdict))
    sweeping.failures += decided.verdict is Verdict.FAILED


def _restore_open(sweeping: SweepRunner, logged: LoggedTrial) -> None:
    """Asked for and not started; to be tried again; or running, with a supervisor or without; or ended while nobody looked."""
    last = logged.tries[-1] if logged.tries else None
    if last is None or last.verdict is Verdict.CUT_SHORT:
        sweeping.left.append(logged.asked)
        return
    trial = sweeping.planned(Asked(logged.asked.number, logged.asked.point, last.overrides))
    if last.verdict is Verdict.AGAIN:
        sweeping.reasons[trial.number].pop()
        sweeping.try_again(trial, last.reason)
        return
    run_dir = sweeping.state.run(last.run_id)
    if not run_dir.journal.exists():
        sweeping.left.append(logged.asked)  # its launch was killed before it began, or somebody removed the run
        return
    running = Running(trial, run_dir, sweeping.tail(run_dir))
    over = sweeping.place.adopt(running)
    if over is not None:
        sweeping.end(*over)
