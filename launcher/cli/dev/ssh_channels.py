"""The channels of an SSH connection, joined to a container: a session to a program in it, a forwarded port to a socket of its.

Who does not read stops nothing but what goes to it: either side is asked to wait as soon as much of its data lies with us.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import asyncssh

from launcher.cli.runs.relay import leaving_words
from runtime.container import pty
from runtime.container.exec_inside import ExecRequest, SideProgram, exec_inside
from runtime.errors import ContainerError

_SHELL = """SHELL=$(command -v bash || command -v sh); export SHELL; exec "$SHELL" "$@\""""
"""bash where the image has it. No login shell: Debian's `/etc/profile` puts another PATH in the place of the image's."""
_LOCALE = ("LANG", "LC_")
"""What clients send of theirs, and the image has not."""
_SIGNALS = {number.name.removeprefix("SIG"): number for number in signal.Signals}
_FAILED = 255
"""What `ssh` exits with when it fails itself."""
_LAST_WORDS_S = 0.1
"""What a terminal still holds comes out a moment after its program has ended, and its end may never come: others may have it."""
_CHUNK = 1 << 16
_MOST_PENDING = 1 << 18
_MOST_LAST_READS = 64
"""More than a pipe or a terminal holds: what the program left in the background may go on writing."""


class _Joined:
    """Bytes between a channel and descriptors, both ways. AsyncSSH calls the methods that end in `_received` and `_writing`."""

    _channel: Any
    _outlets: dict[int, int | None]
    _inlet: int

    def __init__(self) -> None:
        self._outlets, self._inlet = {}, -1
        self._pending = bytearray()
        self._input_ended = False

    def join(self, outlets: Mapping[int, int | None], inlet: int) -> None:
        """*outlets*: descriptors to read → the kind of data that this is on the channel. *inlet* is written to."""
        self._outlets, self._inlet = dict(outlets), inlet
        for fd in {*outlets, inlet}:
            os.set_blocking(fd, False)
        self.resume_writing()

    def part(self) -> None:
        """Neither read nor write any more: the descriptors are about to be closed."""
        self.pause_writing()
        self._outlets.clear()
        if self._inlet >= 0:
            asyncio.get_running_loop().remove_writer(self._inlet)
        self._inlet = -1

    def input_ended(self) -> None:
        """Nothing more comes from the client, and all of it is written."""

    def output_ended(self) -> None:
        """The last outlet has ended."""

    def drain(self) -> None:
        """Read what is there."""
        for fd in list(self._outlets):
            for _ in range(_MOST_LAST_READS):
                if not self._read(fd):
                    break

    def data_received(self, data: bytes, datatype: int | None) -> None:
        if self._inlet >= 0:
            self._pending += data
            self._flush()

    def eof_received(self) -> bool:
        self._input_ended = True
        if self._inlet >= 0:
            self._flush()
        return True  # the other direction goes on

    def resume_writing(self) -> None:
        for fd in self._outlets:
            asyncio.get_running_loop().add_reader(fd, self._read, fd)

    def pause_writing(self) -> None:
        for fd in self._outlets:
            asyncio.get_running_loop().remove_reader(fd)

    def _read(self, fd: int) -> bool:
        """False when nothing more is there now."""
        try:
            chunk = os.read(fd, _CHUNK)
        except BlockingIOError:
            return False
        except OSError:  # the end of a terminal; a connection that was reset
            chunk = b""
        if chunk:
            with suppress(OSError):  # the client has closed the channel
                self._channel.write(chunk, self._outlets[fd])
            return True
        asyncio.get_running_loop().remove_reader(fd)
        del self._outlets[fd]
        if not self._outlets:
            self.output_ended()
        return False

    def _flush(self) -> None:
        loop, inlet = asyncio.get_running_loop(), self._inlet
        try:
            while self._pending:
                del self._pending[: os.write(inlet, self._pending)]
        except BlockingIOError:
            loop.add_writer(inlet, self._flush)
            if len(self._pending) >= _MOST_PENDING:
                self._channel.pause_reading()
            return
        except OSError:  # it does not listen any more
            self._pending.clear()
        loop.remove_writer(inlet)
        self._channel.resume_reading()
        if self._input_ended:
            self._inlet = -1
            self.input_ended()


class ProgramSession(_Joined, asyncssh.SSHServerSession[bytes]):
    """A program in the container: a shell, a command, or the server of its files. Without a terminal it outlives the client, as
    with any SSH server: editors leave theirs in the background."""

    def __init__(self, init_socket: Path, user: str | None) -> None:
        super().__init__()
        self._init_socket, self._user = init_socket, user
        self._terminal: tuple[int, int] | None = None
        self._program: SideProgram | None = None

    def connection_made(self, chan: asyncssh.SSHServerChannel[bytes]) -> None:
        self._channel = chan

    def pty_requested(self, term_type: str, term_size: tuple[int, int, int, int], term_modes: Mapping[int, int]) -> bool:
        columns, rows, *_pixels = term_size
        self._terminal = rows, columns
        return True

    def shell_requested(self) -> bool:
        return True

    def exec_requested(self, command: str) -> bool:
        return True

    def subsystem_requested(self, subsystem: str) -> bool:
        return subsystem == "sftp"

    def session_started(self) -> None:
        try:
            program = self._program = exec_inside(self._init_socket, self._request())
        except ContainerError as error:
            self._fail(error)
            return
        errors = {} if program.stderr is None else {program.stderr: asyncssh.EXTENDED_DATA_STDERR}
        self.join({program.stdout: None, **errors}, program.stdin)
        asyncio.get_running_loop().add_reader(program.ending, self._note_end)

    def _request(self) -> ExecRequest:
        command, sftp = self._channel.get_command(), self._channel.get_subsystem() is not None
        argv = ("/bin/sh", "-c", _SHELL, "sh", *(() if command is None else ("-c", command)))
        env = {name: value for name, value in self._channel.get_environment().items() if not name.startswith(_LOCALE)}
        if self._terminal is not None:
            env["TERM"] = self._channel.get_terminal_type() or "xterm"
        return ExecRequest(argv, env, None, self._user, self._terminal, is_kept=self._terminal is None, serves_files=sftp)

    def input_ended(self) -> None:
        if self._program is not None:
            self._program.close_stdin()

    def _note_end(self) -> None:
        assert self._program is not None
        loop = asyncio.get_running_loop()
        loop.remove_reader(self._program.ending)
        loop.call_later(0.0 if self._terminal is None else _LAST_WORDS_S, self._report_end)

    def _report_end(self) -> None:
        if self._program is None:  # the client has gone meanwhile
            return
        self.drain()
        try:
            ended = self._program.ended()
        except ContainerError as error:
            self._fail(error)
            return
        if words := leaving_words(self._program):
            self._say(f"launch: {words}\n")
        if ended is None:
            self._channel.exit(_FAILED)
        elif ended.signal is not None:
            self._channel.exit_with_signal(signal.Signals(ended.signal).name.removeprefix("SIG"))
        else:
            self._channel.exit(ended.code or 0)

    def _fail(self, error: ContainerError) -> None:
        words = f"launch: {error.message}\n" + (f"hint: {error.hint}\n" if error.hint else "")
        self._say(words)
        self._channel.exit(_FAILED)

    def _say(self, words: str) -> None:
        self._channel.write_stderr(words.replace("\n", "\r\n" if self._terminal else "\n").encode())

    def terminal_size_changed(self, width: int, height: int, pixwidth: int, pixheight: int) -> None:
        if self._program is not None and self._terminal is not None:
            with suppress(OSError):
                pty.set_size(self._program.stdin, height, width)

    def signal_received(self, signal: str) -> None:
        number = _SIGNALS.get(signal)
        if self._program is not None and number is not None:
            self._program.signal(number)

    def connection_lost(self, exc: Exception | None) -> None:
        self.part()
        if self._program is not None:
            asyncio.get_running_loop().remove_reader(self._program.ending)
            self._program.__exit__()
        self._program = None


class ForwardedConnection(_Joined, asyncssh.SSHTCPSession[bytes], asyncssh.SSHUNIXSession[bytes]):
    """A connection that was made inside: to a port there, or to a socket file."""

    def __init__(self, far: socket.socket) -> None:
        super().__init__()
        self._far = far
        self._open_directions = 2

    def connection_made(self, chan: Any) -> None:
        self._channel = chan
        self.join({self._far.fileno(): None}, self._far.fileno())

    def input_ended(self) -> None:
        with suppress(OSError):
            self._far.shutdown(socket.SHUT_WR)
        self._end_direction()

    def output_ended(self) -> None:
        self._channel.write_eof()
        self._end_direction()

    def _end_direction(self) -> None:
        self._open_directions -= 1
        if not self._open_directions:
            self._channel.close()

    def connection_lost(self, exc: Exception | None) -> None:
        self.part()
        self._far.close()
