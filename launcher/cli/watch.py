"""Watching a run, a job of a cluster or a sweep from the command: one loop, which passes signals on and owns nothing.

Killed (`timeout`, a login node that reboots) or hung up on, what is watched goes on; Ctrl-\\ leaves it running. What a first
Ctrl-C asks for is its place's affair.
"""

from __future__ import annotations

import os
import select
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING

from launcher.cli import render
from launcher.cli.runs.summary import print_summary
from launcher.journal.events import Entry, Note, Waiting
from launcher.journal.run_journal import Follower, read_state
from launcher.journal.run_state import RunState
from launcher.run.output import Output, lines_from
from launcher.run.supervisor.signal_inbox import SignalInbox
from launcher.tracking.record.run_record import fold
from runtime.kernel.inotify import Inotify
from runtime.state_dir import RunDir
from runtime.store.failures import NO_ROOM, is_out_of_room
from runtime.whole_file import write_all

if TYPE_CHECKING:
    from launcher.cli.run_place import Place
    from launcher.cli.runs.typed_input import TypedInput

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)
"""What the command receives for its run. To be held back while the run is handed over: a Ctrl-C between that and the watching
would end the command and leave the run alone."""

_RECORD_IS_SLOW_S = 0.5


class Left(Exception):
    """Whoever watched has gone: Ctrl-\\, the terminal hung up, or somebody ended the command."""

    def __init__(self, exit_code: int) -> None:
        self.exit_code = exit_code


def looks(place: Place, inbox: SignalInbox | None = None, typed: TypedInput | None = None) -> Iterator[None]:
    """Yields when something may be new, and once more when what *place* has is over. What *inbox* receives is passed on to it,
    and what is *typed*.

    Raises Left.
    """
    poller = select.poll()
    with Inotify() as changes:
        changes.watch(place.run_dir.root)
        poller.register(changes, select.POLLIN)
        if inbox is not None:
            poller.register(inbox.fd, select.POLLIN)
        has_room = True
        while not place.is_over():
            yield
            has_room = has_room and _has_room(place)
            if typed is not None:
                typed.look()
            typed_fd = None if typed is None else typed.fd
            passing = [fd for fd in (place.end_fd, typed_fd) if fd is not None]
            for fd in passing:
                poller.register(fd, select.POLLIN)
            ready = {fd for fd, _event in poller.poll(1000 * place.pause_s())}
            for fd in passing:
                poller.unregister(fd)
            if typed is not None and typed_fd in ready and not typed.pass_on():
                raise _leave(place, 0)
            if changes.fileno() in ready:
                changes.read()
            if inbox is not None and inbox.fd in ready:
                _pass_on(inbox, place)
    yield


def _has_room(place: Place) -> bool:
    """Says so where it has none: what cannot be written down waits, and so does whoever watches."""
    root = place.run_dir.root
    if not is_out_of_room(os.statvfs(root)):
        return True
    render.warn(f"`{root}` is on a full disk: the {place.what} can end only when there is room again; {NO_ROOM}")
    return False


def _pass_on(inbox: SignalInbox, place: Place) -> None:
    for signum in inbox.read():
        if signum is signal.SIGHUP:
            raise Left(128 + signum)
        if signum in (signal.SIGQUIT, signal.SIGTERM):
            raise _leave(place, 0 if signum is signal.SIGQUIT else 128 + signum)
        if signum is signal.SIGINT and (words := place.words_for_interrupt()):
            render.say(words)
        place.end(signum)


def _leave(place: Place, exit_code: int) -> Left:
    render.say(f"\nleft; the {place.what} goes on, {place.way_back}")
    return Left(exit_code)


def words_for_interrupt(run: RunState) -> str:
    """What to say of a Ctrl-C that is about to be passed on to *run*: the first one asks it to end, the next kills it, and one
    that comes when it is over is for the sending of its record."""
    if run.is_over:
        return "\nthe rest is sent in the background"
    return "\nkilling" if run.stopping is not None else "\nstopping, again to kill"


def watch(place: Place, inbox: SignalInbox, show: Callable[[], None], typed: TypedInput | None = None) -> int | None:
    """Call *show* for each look until what *place* has is over. The exit code of `launch` where whoever watched leaves before."""
    try:
        for _ in looks(place, inbox, typed):
            show()
    except Left as left:
        return left.exit_code
    return None


def watch_silently(place: Place, inbox: SignalInbox) -> int:
    """Wait until what *place* has is over. Returns the exit code of `launch`."""
    left = watch(place, inbox, lambda: None)
    if left is not None:
        return left
    record = fold(place.run_dir)
    return 125 if record is None or record.exit_code is None else record.exit_code


def watch_run(place: Place, inbox: SignalInbox, *, quiet: bool, tail: int | None) -> int:
    """Show the run of *place* to its end, of what it said so far the last *tail* lines or everything. Returns the exit code of
    `launch`."""
    view = RunView(place.run_dir, quiet=quiet, tail=tail)
    try:
        with _typed_input(place.run_dir) as typed:
            left = watch(place, inbox, view.show, typed)
    except OSError as error:  # a full disk behind our stdout, say
        error.add_note(f"the {place.what} goes on, {place.way_back}")
        raise
    return print_ending(place.run_dir, quiet=quiet) if left is None else left


def is_typed_into(run_dir: RunDir) -> bool:
    """Whether who watches that run here types what its program reads."""
    if not os.isatty(sys.stdin.fileno()):
        return False
    created = read_state(run_dir.journal).created
    return created is not None and created.on_terminal


def _typed_input(run_dir: RunDir) -> AbstractContextManager[TypedInput | None]:
    if not is_typed_into(run_dir):
        return nullcontext()
    from launcher.cli.runs.typed_input import TypedInput  # few runs have a terminal

    return TypedInput(run_dir)


class RunView:
    """A run's output, copied to our stdout and stderr byte for byte in the order in which it came, and what its supervisor has to
    say."""

    def __init__(self, run_dir: RunDir, *, quiet: bool = False, tail: int | None = None) -> None:
        """*tail*: of what it said so far only the last lines."""
        self._output = Output(run_dir)
        self._journal = Follower(run_dir.journal)
        self._quiet = quiet
        self._fds = sys.stdout.fileno(), sys.stderr.fileno()
        self._over_since: float | None = None
        self._has_announced_record = quiet
        if tail is not None:
            self._copy(tail=tail)

    def show(self) -> None:
        self._copy()
        entries = self._journal.new_entries()
        if not self._quiet:
            print_notes(entries)
        self._announce_record()

    def _copy(self, *, tail: int | None = None) -> None:
        pieces = self._output.new_pieces()
        for piece in pieces if tail is None else lines_from(pieces, tail):
            write_all(self._fds[piece.stream], piece.data)

    def _announce_record(self) -> None:
        """What is left of a run that is over is to send its record: said where that takes long."""
        if not self._journal.state.is_over or self._has_announced_record:
            return
        now = time.monotonic()
        self._over_since = self._over_since or now
        if now - self._over_since >= _RECORD_IS_SLOW_S:
            self._has_announced_record = True
            render.say("sending the record to MLflow … (Ctrl-C leaves that to the background)")


def print_notes(entries: Sequence[Entry]) -> None:
    """What the supervisor has to say: a limit that is not enforced, a wait for GPUs."""
    for entry in entries:
        if isinstance(entry.event, Note) and entry.event.text:
            render.say(f"{render.styled('note', 'yellow')}: {entry.event.text}")
        elif isinstance(entry.event, Waiting):
            render.say(f"{render.styled('waiting', 'yellow')}: {entry.event.words}")


def print_ending(run_dir: RunDir, *, quiet: bool) -> int:
    """The last lines of a run. Returns the exit code of `launch`."""
    record = fold(run_dir)
    if record is None or record.exit_code is None:
        render.print_error(
            f"the supervisor of run `{run_dir.run_id}` ended before the run did",
            hint=f"`launch runs show {run_dir.run_id}` takes the run up again; its own words are in `{run_dir.supervisor_log}`",
            origin=None,
        )
        return 125
    if not quiet:
        print_summary(record)
    return record.exit_code
