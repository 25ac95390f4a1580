"""Watching a run from the command: its output untouched on stdout and stderr, signals passed on, the last lines at the end.

The watcher owns nothing. Killed or hung up on, the run goes on; a first Ctrl-C asks the run to end, a second one ends it,
Ctrl-\\ leaves it running.
"""

from __future__ import annotations

import os
import select
import signal
import sys
from collections.abc import Iterator, Sequence

from launcher.cli import render
from launcher.cli.runs.summary import print_summary
from launcher.journal import journal
from launcher.run.output import Output, lines_from
from launcher.run.supervisor.signal_inbox import SignalInbox
from launcher.tracking.record import run_record
from runtime.file_lock import is_locked
from runtime.kernel.inotify import Inotify
from runtime.state_dir import RunDir

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)
"""What the command receives for its run. To be held back while the run is handed over: a Ctrl-C between that and the watching
would end the command and leave the run alone."""

_FALLBACK_POLL_MS = 500
"""inotify says nothing on some network file systems; so look now and then anyway."""

_RECORD_STEP_S = 0.05

_MOST_TAKEOVERS = 3
"""How many dead supervisors are replaced; more are a fault that another one would not survive either."""


class Shown:
    """Copies a run's output to our stdout and stderr, byte for byte, in the order in which it came."""

    def __init__(self, run_dir: RunDir) -> None:
        self.output = Output(run_dir)
        self._fds = sys.stdout.fileno(), sys.stderr.fileno()

    def copy(self, *, tail: int | None = None) -> None:
        """What is new; with *tail* only its last lines."""
        pieces = self.output.new_pieces()
        for piece in pieces if tail is None else lines_from(pieces, tail):
            view = memoryview(piece.data)
            while view:
                view = view[os.write(self._fds[piece.stream], view) :]


def watch(run_dir: RunDir, supervisor: int, inbox: SignalInbox, *, quiet: bool = False, tail: int | None = None) -> int:
    """Show the run until *supervisor* (its pidfd) has ended, of what it said so far the last *tail* lines or everything.
    Returns the exit code of `launch`. *inbox* receives SIGNALS."""
    shown = Shown(run_dir)
    poller = select.poll()
    with Inotify() as changes:
        changes.watch(run_dir.root)
        for fd in (supervisor, inbox.fd, changes.fileno()):
            poller.register(fd, select.POLLIN)
        over, told = False, quiet
        notes = journal.Follower(run_dir.journal)
        if tail is not None:
            shown.copy(tail=tail)
        while not over:
            shown.copy()
            tell_notes(journal.since_resumed(notes.new_events()), quiet=quiet)
            happened = poller.poll(_FALLBACK_POLL_MS)
            if not happened and not told and is_finished(run_dir):
                told = True
                render.say("sending the record to MLflow …")
            for fd, _event in happened:
                if fd == changes.fileno():
                    changes.read()
                elif fd == inbox.fd:
                    if _detached(inbox, run_dir, supervisor):
                        return 0
                else:
                    over = not _taken_up(run_dir, supervisor)
    shown.copy()
    os.close(supervisor)
    return ending(run_dir, quiet=quiet)


def tell_notes(events: Sequence[journal.Event], *, quiet: bool) -> None:
    """What the supervisor has to say: a limit that is not enforced, a wait for GPUs."""
    for event in events:
        if event.name == "note" and event.get("text") and not quiet:
            render.say(f"{render.styled('note', 'yellow')}: {event.get('text')}")
        if event.name == "waiting" and not quiet:
            render.say(f"{render.styled('waiting', 'yellow')}: {run_record.in_line(event)}")


def is_finished(run_dir: RunDir) -> bool:
    return any(event.name == "finished" for event in _of_its_life(run_dir))


def until_it_ends(run_dir: RunDir) -> Iterator[None]:
    """Yields when the run may have said something, and once more when it has ended. A dead supervisor gets a successor."""
    from launcher.run.recover import recover

    with Inotify() as changes:
        changes.watch(run_dir.root)
        while True:
            living = is_locked(run_dir.supervisor_lock)
            yield
            if not living:
                if is_finished(run_dir) or _takeovers(run_dir) >= _MOST_TAKEOVERS:
                    return
                recover(run_dir)
                if not is_locked(run_dir.supervisor_lock):
                    yield
                    return
            # What is left of a run that is over is its record; nothing tells of the end of who sends it.
            patience_s = _RECORD_STEP_S if is_finished(run_dir) else _FALLBACK_POLL_MS / 1000
            if select.select([changes], [], [], patience_s)[0]:
                changes.read()


def _detached(inbox: SignalInbox, run_dir: RunDir, supervisor: int) -> bool:
    """Pass signals on to the supervisor. True when the terminal is gone and watching ends."""
    for signum in inbox.read():
        if signum is signal.SIGHUP:
            return True
        if signum is signal.SIGQUIT:
            render.say(f"\nleft; the run goes on, `launch attach {run_dir.run_id}` comes back to it")
            return True
        if signum is signal.SIGINT:
            stopping = any(event.name == "stopping" for event in _of_its_life(run_dir))
            render.say("\nkilling" if stopping else "\nstopping, again to kill")
        try:
            signal.pidfd_send_signal(supervisor, signum)
        except ProcessLookupError:
            continue
    return False


def _taken_up(run_dir: RunDir, supervisor: int) -> bool:
    """*supervisor* has ended. When the run has not, give it another, whose pidfd takes the dead one's number."""
    from launcher.run.recover import recover
    from launcher.run.start.supervisor_link import open_supervisor

    if is_finished(run_dir) or _takeovers(run_dir) >= _MOST_TAKEOVERS:
        return False
    recover(run_dir)
    successor = open_supervisor(run_dir)
    if successor is None:
        return False
    os.dup2(successor, supervisor, inheritable=False)
    os.close(successor)
    return True


def _takeovers(run_dir: RunDir) -> int:
    from launcher.run.recover import TOOK_OVER

    return sum(event.name == "note" and event.get("text") == TOOK_OVER for event in _of_its_life(run_dir))


def _of_its_life(run_dir: RunDir) -> list[journal.Event]:
    return journal.since_resumed(journal.read(run_dir.journal))


def ending(run_dir: RunDir, *, quiet: bool) -> int:
    ended = run_record.fold(run_dir)
    if ended is None or ended.exit_code is None:
        render.print_error(
            f"the supervisor of run `{run_dir.run_id}` ended before the run did",
            hint=f"`launch runs show {run_dir.run_id}` takes the run up again; its own words are in `{run_dir.supervisor_log}`",
            origin=None,
        )
        return 125
    if not quiet:
        print_summary(ended)
    return ended.exit_code
