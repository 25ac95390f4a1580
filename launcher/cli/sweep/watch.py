"""What one sees of a sweep: in the shell that started it, in `launch attach SWEEP`, in `launch logs -f SWEEP`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from launcher.cli import render
from launcher.cli.sweep.summary import print_sweep_summary
from launcher.cli.sweep.view import LiveView, PlainView, plain_line, sweep_view
from launcher.cli.watch import looks
from launcher.journal.events import Entry, Note
from launcher.journal.run_journal import Follower, read_state
from launcher.sweep.capacity import offer
from launcher.sweep.followed import Ended, FollowedSweep, Started
from launcher.sweep.results import read_known_results
from launcher.tracking.record.run_record import fold
from runtime.state_dir import RunDir

if TYPE_CHECKING:
    from launcher.cli.run_place import Place


class SweepWatch:
    """A sweep's table on the terminal, or its lines. *from_now*: what has happened before was seen by somebody else."""

    def __init__(self, run_dir: RunDir, *, quiet: bool, from_now: bool) -> None:
        self._sweep = FollowedSweep(run_dir)
        self._journal = Follower(run_dir.journal)
        past = self._sweep.new_events() if from_now else []
        if from_now:
            self._journal.new_entries()
        self._view = sweep_view(self._sweep, offer(), quiet=quiet)
        self._view.take_over(past)

    def show(self) -> None:
        show_news(self._view, self._sweep.new_events(), self._journal.new_entries())

    def close(self) -> None:
        self._view.close()


def print_sweep_lines(place: Place, *, follow: bool, tail: int | None = None, since: float = 0.0) -> None:
    """One line on stdout for each try of a trial that has ended; with *follow* until the sweep has."""
    sweep = FollowedSweep(place.run_dir)
    ended = [event for event in sweep.new_events() if isinstance(event, Ended) and event.at >= since]
    for event in ended if tail is None else ended[len(ended) - min(tail, len(ended)) :]:
        print(plain_line(event, sweep.total))
    for _ in looks(place) if follow else ():
        for new in sweep.new_events():
            if isinstance(new, Ended):
                print(plain_line(new, sweep.total), flush=True)


def print_sweep_ending(run_dir: RunDir, *, quiet: bool) -> int:
    """The last lines of a sweep whose process has ended, and the exit code."""
    from launcher.run.recover import recover

    recover(run_dir)  # closes one that was killed
    record, results = fold(run_dir), read_known_results(run_dir)
    if not quiet:
        print_sweep_summary(run_dir, run_dir.state, results, record)
    if record is None or record.exit_code is None:
        return 125
    if record.reason == "lost":
        hint = f"`launch resume {run_dir.run_id}` goes on with it" if results.dimensions else None  # not with a Hydra program
        render.print_error(f"the process of sweep `{run_dir.run_id}` was killed", hint=hint, origin=None)
    elif record.message is not None:
        finished = read_state(run_dir.journal).finished
        render.print_error(record.message, hint=None if finished is None else finished.hint, origin=None)
    return record.exit_code


def show_news(view: PlainView | LiveView, events: Sequence[Started | Ended], entries: Sequence[Entry]) -> None:
    """*entries*: new ones of the parent's journal, where its process says what it has to say."""
    view.show(events)
    for entry in entries:
        if isinstance(entry.event, Note) and entry.event.text:
            view.message(entry.event.text)
    view.tick()
