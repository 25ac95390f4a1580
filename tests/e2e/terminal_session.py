"""A command on a terminal of its own, as a person has it: type, read, resize, hang up."""

from __future__ import annotations

import fcntl
import os
import select
import signal
import struct
import subprocess
import termios
import time
from types import TracebackType
from typing import Any, Self

from launch_command import Launch


class TerminalSession:
    """`launch …` with a pseudo-terminal as its controlling terminal. Leaving it kills what is left."""

    def __init__(self, launch: Launch, *arguments: str, rows: int = 40, columns: int = 111) -> None:
        self.master, self.slave = os.openpty()
        self.resize(rows, columns)
        self.modes_before = termios.tcgetattr(self.slave)
        self.process = subprocess.Popen(
            launch.argv(*arguments),
            cwd=launch.project,
            env={**launch.env(), "TERM": "vt100"},
            stdin=self.slave,
            stdout=self.slave,
            stderr=self.slave,
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
        )
        self.said = ""

    def resize(self, rows: int, columns: int) -> None:
        fcntl.ioctl(self.slave, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def type(self, text: str) -> None:
        os.write(self.master, text.encode())

    def wait_for(self, words: str, *, within_s: float = 120) -> None:
        """Read until *words* have been said; what came before is forgotten."""
        deadline = time.monotonic() + within_s
        while words not in self.said:
            assert time.monotonic() < deadline, f"`{words}` was not said; only: {self.said!r}"
            if select.select([self.master], [], [], 0.1)[0]:
                self.said += os.read(self.master, 1 << 16).decode(errors="replace")
        self.said = self.said.partition(words)[2]

    def end(self, *, within_s: float = 60) -> int:
        """Its exit code, once it has ended; what it says meanwhile is read."""
        deadline = time.monotonic() + within_s
        while self.process.poll() is None:
            assert time.monotonic() < deadline, f"it did not end: {self.said!r}"
            if select.select([self.master], [], [], 0.05)[0]:
                self.said += os.read(self.master, 1 << 16).decode(errors="replace")
        return self.process.returncode

    def modes(self) -> list[Any]:
        return termios.tcgetattr(self.slave)

    def hang_up(self) -> None:
        """As a closed window: the kernel tells the session."""
        os.close(self.slave)
        os.close(self.master)
        self.master = self.slave = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGKILL)
        self.process.wait(timeout=30)
        for fd in {self.master, self.slave} - {-1}:
            os.close(fd)
