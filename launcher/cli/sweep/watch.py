"""Watching a sweep: in the shell that started it, in `launch attach SWEEP`, in `launch logs -f SWEEP`.

The watcher owns nothing, as with a run (`launcher.cli.watch`): killed or hung up on, the sweep goes on. A first Ctrl-C asks it to
start no more trials, a second one stops the running ones, a third kills them; Ctrl-\\ leaves it running.
"""

from __future__ import annotations

import os
import select
import signal
from collections.abc import Iterator, Sequence

from launcher.cli import render
from launcher.cli.sweep.summary import print_sweep_summary
from launcher.cli.sweep.view import LiveView, PlainView, plain_line, sweep_view
from launcher.journal import journal
from launcher.run.supervisor.signal_inbox import SignalInbox
from launcher.sweep.capacity import offer
from launcher.sweep.followed import Ended, FollowedSweep, Started
from launcher.sweep.results import read_known_results
from launcher.tracking.record.run_record import fold
from runtime.kernel.inotify import Inotify
from runtime.state_dir import RunDir, StateDir

_TICK_MS = 250


def watch_sweep(run_dir: RunDir, process: int, inbox: SignalInbox, *, quiet: bool, from_now: bool = False) -> int:
    """Show the sweep until its *process* (a pidfd) has ended. Returns the exit code of `launch`. *inbox* receives the signals of
    `launcher.cli.watch`. *from_now*: what has happened before was seen by somebody else."""
    followed = FollowedSweep(run_dir)
    notes = journal.Follower(run_dir.journal)
    past = followed.new_events() if from_now else []
    if from_now:
        notes.new_events()
    view = sweep_view(followed, followed.settings, offer(), quiet=quiet)
    view.take_over(past)
    try:
        for happened in _until_it_ends(run_dir, process, inbox):
            show_news(view, followed.new_events(), notes.new_events())
            if inbox.fd in happened and _left(inbox, process, run_dir):
                return 0
        show_news(view, followed.new_events(), notes.new_events())
    finally:
        view.close()
        os.close(process)
    return sweep_ending(run_dir, quiet=quiet)


def print_sweep_lines(run_dir: RunDir, *, follow: bool, tail: int | None = None, since: float = 0.0) -> None:
    """One line on stdout for each try of a trial that has ended; with *follow* until the sweep has."""
    from launcher.cli.watch import until_it_ends

    followed = FollowedSweep(run_dir)
    ended = [event for event in followed.new_events() if isinstance(event, Ended) and event.at >= since]
    for event in ended if tail is None else ended[len(ended) - min(tail, len(ended)) :]:
        print(plain_line(event, followed.total))
    for _ in until_it_ends(run_dir) if follow else ():
        for new in followed.new_events():
            if isinstance(new, Ended):
                print(plain_line(new, followed.total), flush=True)


def sweep_ending(run_dir: RunDir, *, quiet: bool) -> int:
    """The last lines of a sweep whose process has ended, and the exit code."""
    from launcher.run.recover import recover

    recover(run_dir)  # closes one that was killed
    record, results = fold(run_dir), read_known_results(run_dir)
    if not quiet:
        print_sweep_summary(run_dir, StateDir(run_dir.root.parent.parent), results, record)
    if record is None or record.exit_code is None:
        return 125
    if record.reason == "lost":
        hint = f"`launch resume {run_dir.run_id}` goes on with it" if results.dimensions else None  # not with a Hydra program
        render.print_error(f"the process of sweep `{run_dir.run_id}` was killed", hint=hint, origin=None)
    elif record.message is not None:
        render.print_error(record.message, hint=_hint(run_dir), origin=None)
    return record.exit_code


def _hint(run_dir: RunDir) -> str | None:
    """What its process, which failed, knew to do about that."""
    events = journal.since_resumed(journal.read(run_dir.journal))
    return next((event.get("hint") for event in reversed(events) if event.name == "finished"), None)


def _until_it_ends(run_dir: RunDir, process: int, inbox: SignalInbox) -> Iterator[set[int]]:
    """What poll(2) named each time, four times a second at least."""
    poller = select.poll()
    with Inotify() as changes:
        changes.watch(run_dir.root)
        for fd in (process, inbox.fd, changes.fileno()):
            poller.register(fd, select.POLLIN)
        while True:
            happened = {fd for fd, _event in poller.poll(_TICK_MS)}
            if changes.fileno() in happened:
                changes.read()
            if process in happened:
                return
            yield happened


def show_news(view: PlainView | LiveView, events: Sequence[Started | Ended], notes: Sequence[journal.Event]) -> None:
    """*notes*: new events of the parent's journal, where its process says what it has to say."""
    view.show(events)
    for note in notes:
        if note.name == "note" and note.get("text"):
            view.message(str(note.get("text")))
    view.tick()


def _left(inbox: SignalInbox, process: int, run_dir: RunDir) -> bool:
    """Pass signals on to the sweep. True when the terminal is gone, or was left."""
    for signum in inbox.read():
        if signum is signal.SIGHUP:
            return True
        if signum is signal.SIGQUIT:
            render.say(f"\nleft; the sweep goes on, `launch attach {run_dir.run_id}` comes back to it")
            return True
        try:
            signal.pidfd_send_signal(process, signum)
        except ProcessLookupError:
            continue
    return False
