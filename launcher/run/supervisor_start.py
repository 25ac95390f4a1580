"""A supervisor as a new program in a session of its own: its command line, its environment, its descriptors."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from runtime.state_dir import RunDir


def spawn_supervisor(run_dir: RunDir, lock_fd: int) -> int:
    """Start a supervisor of *run_dir* in a session of its own; it inherits the lock. Returns its pid, a child of ours."""
    log_fd = os.open(run_dir.supervisor_log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    null_fd = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
    argv = supervisor_argv(str(run_dir.root))
    actions = [(os.POSIX_SPAWN_DUP2, source, target) for source, target in ((null_fd, 0), (log_fd, 1), (log_fd, 2), (lock_fd, 3))]
    try:
        return os.posix_spawn(argv[0], argv, supervisor_environment(), file_actions=actions, setsid=True)
    finally:
        os.close(log_fd)
        os.close(null_fd)
        os.close(lock_fd)


def supervisor_argv(what: str, *, program: Path | None = None) -> list[str]:
    """The command line of a supervisor process; *what* is a run directory or SERVE. *program*: not `supervisor_main.py`."""
    program = program or Path(__file__).with_name("supervisor_main.py")
    return [sys.executable, "-I", "-S", str(program), _site_directory(), what]


def supervisor_environment() -> dict[str, str]:
    """Ours, for the secrets and settings in it; without the terminal's form where there is no terminal."""
    if sys.stdout.isatty():
        return dict(os.environ)
    return {name: value for name, value in os.environ.items() if name not in ("TERM", "COLUMNS")}


def _site_directory() -> str:
    """Where this environment's packages (pynvml) lie; the supervisor runs without `site`."""
    return next((path for path in sys.path if path.endswith(("site-packages", "dist-packages"))), "")
