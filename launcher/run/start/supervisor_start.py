"""A supervisor as a new program in a session of its own: its command line, its environment, its descriptors.

Our environment, with the secrets of runs in it, goes through a file without a name, read and closed by the program's first lines:
what execve(2) is given can be read in /proc/PID/environ as long as the process lives.
"""

from __future__ import annotations

import fcntl
import os
import sys
from collections.abc import Iterable
from pathlib import Path

from launcher.tracking.bare_environment import bare_environment
from runtime.state_dir import RunDir

SEND = "send"
"""In place of a run directory, with the state directory behind it: a sender (`launcher.tracking.sender`)."""

NOTIFY = "notify"
"""The same, with a run directory behind it: tells who asked for it that the run has ended (`launcher.run.notice`)."""

_ENVIRONMENT_FD = 9
"""Above those that anything else is passed as."""


def spawn_supervisor(run_dir: RunDir, lock_fd: int) -> int:
    """Start a supervisor of *run_dir* in a session of its own; it inherits the lock. Returns its pid, a child of ours."""
    try:
        return spawn_logged(supervisor_argv(str(run_dir.root)), run_dir.supervisor_log, (lock_fd, 3))
    finally:
        os.close(lock_fd)


def spawn_logged(argv: list[str], log: Path, *passed: tuple[int, int]) -> int:
    """`spawn`, with nothing to read; what it says comes to the end of *log*."""
    log_fd = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    null_fd = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return spawn(argv, ((null_fd, 0), (log_fd, 1), (log_fd, 2), *passed))
    finally:
        os.close(log_fd)
        os.close(null_fd)


def spawn(argv: list[str], passed: Iterable[tuple[int, int]]) -> int:
    """Execute *argv* in a session of its own with the descriptors *passed* (ours, its) and our environment, and no signal
    blocked, as the caller's may be. Returns its pid."""
    environment_fd = _written_environment()
    try:
        actions = [(os.POSIX_SPAWN_DUP2, source, target) for source, target in (*passed, (environment_fd, _ENVIRONMENT_FD))]
        return os.posix_spawn(argv[0], argv, bare_environment(), file_actions=actions, setsid=True, setsigmask=())
    finally:
        os.close(environment_fd)


def supervisor_argv(what: str, *, program: Path | None = None) -> list[str]:
    """The command line of a supervisor process; *what* is a run directory, SEND or NOTIFY, or what *program* takes instead."""
    program = program or Path(__file__).with_name("supervisor_main.py")
    return [sys.executable, "-I", "-S", str(program), _site_directory(), what]


def _written_environment() -> int:
    """Ours, without the terminal's form where there is no terminal, as the content of a file without a name."""
    left_out = () if sys.stdout.isatty() else ("TERM", "COLUMNS")
    entries = (os.fsencode(f"{name}={value}") for name, value in os.environ.items() if name not in left_out)
    with open(os.memfd_create("environment"), "wb") as file:
        file.write(b"\0".join(entries))
        file.flush()
        return fcntl.fcntl(file, fcntl.F_DUPFD_CLOEXEC, _ENVIRONMENT_FD + 1)


def take_environment() -> None:
    """In the program, first thing: have the environment that was written down for us."""
    os.lseek(_ENVIRONMENT_FD, 0, os.SEEK_SET)
    with open(_ENVIRONMENT_FD, "rb") as file:
        for entry in file.read().split(b"\0"):
            name, equals, value = entry.partition(b"=")
            if equals:
                os.environb[name] = value


def _site_directory() -> str:
    """Where this environment's packages (pynvml) lie; the supervisor runs without `site`."""
    return next((path for path in sys.path if path.endswith(("site-packages", "dist-packages"))), "")
