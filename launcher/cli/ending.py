"""Ending runs from outside: a signal to each supervisor, then waiting for the journals' last words."""

from __future__ import annotations

import signal
from collections.abc import Sequence

from launcher.cli import render
from launcher.cli.placing import place_of
from launcher.cli.summary import headline
from launcher.tracking.record.run_record import RunRecord, find_run, fold
from runtime.state_dir import state_dir


def end_runs(references: Sequence[str], signum: signal.Signals) -> int:
    """Send *signum* to the supervisors of the runs and wait until each has ended."""
    records = [find_run(state_dir(), reference) for reference in references]
    for record in records:
        if record.exit_code is None or record.is_sweep:  # workers of a sweep that was killed wait for a while to be adopted
            place_of(record).end(signum)
    for record in records:
        render.say(headline(wait_for(record)))
    return 0


def wait_for(record: RunRecord) -> RunRecord:
    """Wait until the run has ended and its supervisor has gone: then MLflow has been told too. One that lost its supervisor gets
    another."""
    for _ in place_of(record).until_it_ends():
        pass
    return fold(record.run_dir) or record
