"""The journal of a run: one event a line (`events.py`), appended only. It is the truth; everything else is a view of it.

A line is one write(2) on an O_APPEND descriptor: two writers never mix, and what a killed one left of a line is closed by the
next. What a run is after its events is `run_state.py`.
"""

from __future__ import annotations

import errno
import os
import time
from contextlib import suppress
from pathlib import Path
from threading import Thread

from launcher.errors import LaunchError
from launcher.journal.events import Entry, Event, Finished, Resumed, Submitted, decode, encode, name_of
from launcher.journal.growing_file import GrowingFile
from launcher.journal.run_state import RunState
from runtime.errors import error_words
from runtime.store.failures import NO_ROOM

_DURABLE = (Submitted, Finished, Resumed)
"""What is on the disk before anybody acts on it: a place in a queue, how a run ended. That it exists and runs is confirmed while
the program runs (`Journal.confirm_soon`): a busy disk answers after seconds."""


class Journal:
    """A journal, and whose words are written into it: those of the placement *token*, or of a run's own machine (None)."""

    __slots__ = ("path", "token")

    def __init__(self, path: Path, token: str | None = None) -> None:
        self.path = path
        self.token = token

    def append(self, event: Event, *, at: float | None = None) -> Entry:
        """Add *event*, of now or of *at* (Unix seconds). The file is made (0600) when missing.

        Raises LaunchError when the line cannot be written whole.
        """
        entry = Entry(time.time() if at is None else at, event, self.token)
        try:
            append_line(self.path, encode(entry), durable=isinstance(event, _DURABLE))
        except OSError as error:
            what = f"cannot write event `{name_of(event)}` to the journal `{self.path}`"
            raise LaunchError(f"{what}: {error_words(error)}", hint=NO_ROOM if error.errno == errno.ENOSPC else None) from error
        return entry

    def confirm_soon(self) -> None:
        """Let what was appended survive a power cut, without waiting for the disk."""
        Thread(target=self.confirm, daemon=True).start()

    def confirm(self) -> None:
        with suppress(OSError):  # a disk that fails says so to the next writer
            descriptor = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
            try:
                os.fdatasync(descriptor)
            finally:
                os.close(descriptor)

    def read(self) -> RunState:
        return read_state(self.path)


class Follower:
    """A journal read as it grows: `state` is the run by what was read so far."""

    __slots__ = ("_file", "state")

    def __init__(self, path: Path) -> None:
        self._file = GrowingFile(path)
        self.state = RunState()

    def new_entries(self) -> list[Entry]:
        """What was added since the last call, of it what counts. Raises OSError when the file cannot be read."""
        entries = [entry for line in self._file.new_lines() if (entry := decode(line)) is not None]
        return [entry for entry in entries if self.state.take_in(entry)]

    def look(self) -> RunState:
        self.new_entries()
        return self.state


def read_state(path: Path) -> RunState:
    """The run by all that stands in its journal; one without `created` when there is none."""
    return Follower(path).look()


def append_line(path: Path, line: bytes, *, durable: bool = False) -> None:
    """Add *line*, which ends in a newline, behind whole lines. Raises OSError when it cannot be written whole."""
    descriptor = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        if _is_torn(descriptor):
            line = b"\n" + line
        written = os.write(descriptor, line)
        if written != len(line):
            # The disk is full. The newline closes the torn line, so that the next event stands on its own.
            os.write(descriptor, b"\n")
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        if durable:
            os.fdatasync(descriptor)
    finally:
        os.close(descriptor)


def _is_torn(descriptor: int) -> bool:
    """Whether the last line has no end: SIGKILL ends a write(2) between two pages. Then the line is lost, not the next one too.
    Seen in the middle of another's write it costs an empty line, which nobody reads."""
    size = os.fstat(descriptor).st_size
    return size > 0 and os.pread(descriptor, 1, size - 1) != b"\n"
