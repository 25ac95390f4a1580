"""Ending runs from outside: a signal to each supervisor, then waiting for the journals' last words."""

from __future__ import annotations

import select
import signal
from collections.abc import Sequence

from launcher.cli import render
from launcher.cli.summary import headline
from launcher.run.recover import recover
from launcher.run.supervisor_link import signal_supervisor
from launcher.tracking.record import RunRecord, find_run, fold
from runtime.file_lock import is_locked
from runtime.state_dir import state_dir

_STEP_S = 0.05


def end_runs(references: Sequence[str], signum: signal.Signals) -> int:
    """Send *signum* to the supervisors of the runs and wait until each has ended."""
    records = [find_run(state_dir(), reference) for reference in references]
    for record in records:
        if record.exit_code is None and not _end_elsewhere(record, signum):
            recover(record.run_dir)
            signal_supervisor(record.run_dir, signum)
    for record in records:
        render.say(headline(_ended(record)))
    return 0


def _end_elsewhere(record: RunRecord, signum: signal.Signals) -> bool:
    """False for a run of this machine."""
    if record.job is None:
        return False
    from launcher.cli.cluster_run import end_job

    return end_job(record.run_dir, signum)


def wait_for(record: RunRecord) -> RunRecord:
    """Wait until the run has ended; a run that lost its supervisor gets another."""
    recover(record.run_dir)
    return _ended(record)


def _ended(record: RunRecord) -> RunRecord:
    """Once its supervisor has gone: then MLflow has been told too."""
    if record.job is not None:
        from launcher.cli.cluster_run import until_job_ends

        for _ in until_job_ends(record.run_dir):
            pass
    while is_locked(record.run_dir.supervisor_lock):
        select.select([], [], [], _STEP_S)
    return fold(record.run_dir) or record
