"""Runs told from outside to pause, to go on, to end; and waiting for their end."""

from __future__ import annotations

import signal
import time
from collections.abc import Sequence

from launcher.cli import render
from launcher.cli.run_place import place_of
from launcher.cli.runs.summary import headline, print_summary
from launcher.cli.watch import looks
from launcher.journal.run_journal import Follower
from launcher.journal.run_state import RunState
from launcher.run.pauses import pause, unpause
from launcher.run.running_runs import living_run
from launcher.tracking.record.find_runs import find_run
from launcher.tracking.record.run_record import RunRecord, fold
from runtime.state_dir import state_dir

_SAYS_AFTER_S = 2.0


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
        ended = wait_until_over(record)
        render.say(headline(ended))
        if ended.run_dir.is_dev:
            from launcher.cli.dev.make import report_end

            report_end(ended)
    return 0


def wait_for_run(reference: str, *, as_json: bool) -> int:
    """Wait for the run or sweep and print its last lines, or its record. Returns its exit code."""
    ended = wait_until_over(find_run(state_dir(), reference))
    if as_json:
        from launcher.cli.runs.show import print_record

        return print_record(ended.run_dir)
    if ended.is_sweep:
        from launcher.cli.sweep.watch import print_sweep_ending

        return print_sweep_ending(ended.run_dir, quiet=False)
    print_summary(ended)
    return 125 if ended.exit_code is None else ended.exit_code


def wait_until_over(record: RunRecord) -> RunRecord:
    """Wait until the run has ended and its supervisor has gone: then MLflow has been told too. One that lost its supervisor gets
    another. Says what is waited for where that takes long, and again when it is something else."""
    said, patient_until = "", time.monotonic() + _SAYS_AFTER_S
    journal = Follower(record.run_dir.journal)
    for _ in looks(place_of(record)):
        if time.monotonic() >= patient_until and (words := _what_it_does(record.run_id, journal.look())) != said:
            said = words
            render.say(f"waiting for {record.experiment} {record.run_id}, which {words}")
    return fold(record.run_dir) or record


def _what_it_does(run_id: str, run: RunState) -> str:
    if run.is_over:
        return "has ended, and its record is completed"
    if run.stopping is not None:
        return f"was asked to end; `launch kill {run_id}` does not wait for its `grace`"
    if run.is_paused:
        return f"is paused: `launch unpause {run_id}` lets it go on"
    if run.waiting is not None:
        return f"waits itself: {run.waiting.words}"
    if run.job is not None and run.placed is None:
        return f"is {run.job} and has not begun"
    return "goes on" if run.is_sweep or run.has_started else "has not begun"
