"""Between the caller and a program inside a container: bytes both ways, signals, the size of the terminal, the exit code.

One poll loop, no threads; a side that does not read stops nothing but what goes to it.
"""

from __future__ import annotations

import errno
import os
import select
import signal
import sys
import termios
import time
import tty
from contextlib import nullcontext, suppress
from typing import NamedTuple

from launcher.cli import render
from launcher.cli.terminal import raw_mode
from launcher.run.supervisor.signal_inbox import SignalInbox
from runtime.container import pty
from runtime.container.exec_inside import SideProgram
from runtime.container.spec import ProcessExit
from runtime.light_dataclasses import dataclass, field
from runtime.whole_file import write_all

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGQUIT, signal.SIGHUP, signal.SIGWINCH, signal.SIGCONT)

_CHUNK = 1 << 16
_MOST_PENDING = 1 << 18
_MOST_LAST_READS = 64
"""More than a pipe or a terminal holds: what it left in the background may go on writing."""
_GRACE_S = 2.0
"""For a program that is asked to end: then it is killed."""
_LAST_WORDS_MS = 100
"""What a terminal still holds comes out a moment after its program has ended, and its end may never come: others may have it."""


_LEAVING = {
    0: "nobody used this container for as long as `dev.idle` says: it ends, and this program with it",
    signal.SIGKILL: "the container has ended, and this program with it",
}
"""By what ends the container."""


class Relayed(NamedTuple):
    """What became of it."""

    code: int
    """To exit with."""
    has_ended: bool
    """False: it was we who had to go."""


@dataclass(slots=True)
class _Relay:
    program: SideProgram
    inbox: SignalInbox
    on_terminal: bool
    outlets: dict[int, int]
    """Where it can be read → where that goes."""
    source: int | None
    """Our stdin, while it gives something."""
    raw: bool
    """Whether our terminal gives every key on."""
    pending: bytearray = field(default_factory=bytearray)
    interrupted: bool = False
    until: int | None = None
    """Readable when the program is to end."""
    interrupt_ends: bool = False
    """Ctrl-C asks it to end, instead of going to it as it is."""
    kill_at: float | None = None

    def run(self) -> Relayed:
        if self.program.stdin >= 0:
            os.set_blocking(self.program.stdin, False)
        while True:
            ready = self._wait()
            for fd, event in ready:
                if fd == self.inbox.fd:
                    code = self._handle_signals()
                    if code is not None:
                        return Relayed(code, has_ended=False)
                elif fd == self.until:
                    self._ask_to_end()
                elif fd in self.outlets:
                    self._copy(fd)
                elif fd == self.source:
                    self._read_stdin()
                if fd == self.program.stdin and (event & select.POLLOUT or self.pending):
                    self._write_stdin()
            if any(fd == self.program.ending for fd, _event in ready):
                return Relayed(self._drain(self.program.ended()), has_ended=True)
            if self.kill_at is not None and time.monotonic() >= self.kill_at:
                self.program.signal(signal.SIGKILL)
                self.kill_at = None

    def _wait(self) -> list[tuple[int, int]]:
        events = {self.program.ending: select.POLLIN, self.inbox.fd: select.POLLIN}
        events |= dict.fromkeys(self.outlets, select.POLLIN)
        if self.source is not None and len(self.pending) < _MOST_PENDING:
            events[self.source] = select.POLLIN
        if self.pending and self.program.stdin >= 0:
            events[self.program.stdin] = events.get(self.program.stdin, 0) | select.POLLOUT
        if self.until is not None:
            events[self.until] = select.POLLIN
        poller = select.poll()
        for fd, wanted in events.items():
            poller.register(fd, wanted)
        return poller.poll(None if self.kill_at is None else max(0.0, (self.kill_at - time.monotonic()) * 1000) + 1)

    def _ask_to_end(self) -> None:
        self.until = None
        self.kill_at = time.monotonic() + _GRACE_S
        self.program.signal(signal.SIGTERM)

    def _copy(self, fd: int) -> bool:
        """False when there is nothing more to come."""
        try:
            chunk = os.read(fd, _CHUNK)
        except BlockingIOError:
            return True
        except OSError as error:
            # The end of a terminal.
            if error.errno != errno.EIO:
                raise
            chunk = b""
        if not chunk:
            del self.outlets[fd]
            return False
        write_all(self.outlets[fd], chunk)
        return True

    def _read_stdin(self) -> None:
        assert self.source is not None
        try:
            chunk = os.read(self.source, _CHUNK)
        except OSError:
            # EIO: our terminal is gone.
            chunk = b""
        self.pending += chunk
        if not chunk:
            self.source = None
            if not self.pending:
                self.program.close_stdin()
        else:
            self._write_stdin()

    def _write_stdin(self) -> None:
        try:
            while self.pending:
                del self.pending[: os.write(self.program.stdin, self.pending)]
        except BlockingIOError:
            return
        except OSError:
            # EPIPE, EIO: it does not listen any more.
            self.pending.clear()
            self.source = None
        if self.source is None:
            self.program.close_stdin()

    def _handle_signals(self) -> int | None:
        """Deal with signals to us; an exit code when we are to leave."""
        for number in self.inbox.read():
            if number in (signal.SIGWINCH, signal.SIGCONT):
                self._resize()
            elif number is signal.SIGHUP or (self.on_terminal and number is signal.SIGTERM):
                return 128 + number
            elif number is signal.SIGINT and self.interrupted:
                self.program.signal(signal.SIGKILL)
            elif number is signal.SIGINT and self.interrupt_ends:
                self.interrupted = True
                self._ask_to_end()
            else:
                self.interrupted = number is signal.SIGINT
                self.program.signal(number)
        return None

    def _resize(self) -> None:
        if self.on_terminal:
            with suppress(OSError, termios.error):
                if self.raw:  # after SIGCONT it is as the shell likes it
                    tty.setraw(sys.stdin.fileno())
                pty.set_size(self.program.stdin, *pty.size_of(sys.stdin.fileno()))

    def _drain(self, ended: ProcessExit | None) -> int:
        for fd in list(self.outlets):
            poller = select.poll()
            poller.register(fd, select.POLLIN)
            for _ in range(_MOST_LAST_READS):
                if not poller.poll(_LAST_WORDS_MS if self.on_terminal else 0) or not self._copy(fd):
                    break
        return 128 + signal.SIGKILL if ended is None else ended.shell_code


def relay(
    program: SideProgram,
    *,
    with_stdin: bool,
    on_terminal: bool,
    inbox: SignalInbox | None = None,
    until: int | None = None,
    interrupt_ends: bool = False,
) -> Relayed:
    """Stand between us and *program* until it has ended, or we are told to go. Our terminal is raw meanwhile. As soon as *until*
    is readable the program is asked to end, and at Ctrl-C where *interrupt_ends*."""
    stdin = sys.stdin.fileno()
    outlets = {program.stdout: sys.stdout.fileno()}
    if program.stderr is not None:
        outlets[program.stderr] = sys.stderr.fileno()
    if not with_stdin:
        program.close_stdin()
    inbox = inbox or SignalInbox(SIGNALS)
    # Without our stdin Ctrl-C is for us, and passed on as a signal.
    raw = on_terminal and with_stdin and os.isatty(stdin)
    with raw_mode(stdin) if raw else nullcontext():
        source = stdin if with_stdin else None
        done = _Relay(program, inbox, on_terminal, outlets, source, raw, until=until, interrupt_ends=interrupt_ends).run()
    if words := leaving_words(program):
        render.say(words)
    return done


def leaving_words(program: SideProgram) -> str | None:
    """Why the container ends, for those in it whose program has ended; None where it goes on."""
    if program.leaving is None:
        return None
    return _LEAVING.get(program.leaving, "the container is told to end, and this program with it")
