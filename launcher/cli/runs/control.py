"""Runs told from outside to pause, to go on, to end; and waiting for their end."""

from __future__ import annotations

import signal
from collections.abc import Sequence

from launcher.cli import render
from launcher.cli.run_place import place_of
from launcher.cli.runs.summary import headline, print_summary
from launcher.cli.watch import looks
from launcher.run.pauses import pause, unpause
from launcher.run.running_runs import living_run
from launcher.tracking.record.find_runs import find_run
from launcher.tracking.record.run_record import RunRecord, fold
from runtime.state_dir import state_dir


def pause_runs(references: Sequence[str]) -> int:
    for record in [living_run(state_dir(), reference) for reference in references]:
        pause(record)
        render.say(f"paused {record.experiment} {record.run_id}; `launch unpause {record.run_id}` lets it go on")
    return 0


def unpause_runs(references: Sequence[str]) -> int:
    for record in [living_run(state_dir(), reference) for reference in references]:
        unpause(record)
        render.say(f"{record.experiment} {record.run_id} goes on")
    return 0


def end_runs(references: Sequence[str], signum: signal.Signals) -> int:
    """Send *signum* to the supervisors of the runs and wait until each has ended."""
    records = [find_run(state_dir(), reference) for reference in references]
    for record in records:
        if record.exit_code is None or record.is_sweep:  # workers of a sweep that was killed wait for a while to be adopted
            place_of(record).end(signum)
    for record in records:
        render.say(headline(_wait_for(record)))
    return 0


def wait_for_run(reference: str) -> int:
    """Wait for the run or sweep and print its last lines. Returns its exit code."""
    ended = _wait_for(find_run(state_dir(), reference))
    if ended.is_sweep:
        from launcher.cli.sweep.watch import print_sweep_ending

        return print_sweep_ending(ended.run_dir, quiet=False)
    print_summary(ended)
    return 125 if ended.exit_code is None else ended.exit_code


def _wait_for(record: RunRecord) -> RunRecord:
    """Wait until the run has ended and its supervisor has gone: then MLflow has been told too. One that lost its supervisor gets
    another."""
    for _ in looks(place_of(record)):
        pass
    return fold(record.run_dir) or record
