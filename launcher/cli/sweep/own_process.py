"""The process of a sweep: forked from the command that made it ready, in a session of its own. The command watches, or leaves.

It holds the lock of the sweep's parent run as a supervisor holds a run's, and so is found by `launch stop`, `attach` and all
others. What it has to say stands in that run's journal; what should not happen, in its `supervisor.log`.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from typing import NoReturn

from launcher.cli.failures import failures_shown
from runtime.state_dir import RunDir, StateDir

Begun = Callable[[RunDir], None]
"""To be called once the sweep is written down: until then its process speaks to the terminal."""


def start_process(sweep: Callable[[Begun], int], state: StateDir, *, debug: bool) -> tuple[RunDir, int]:
    """Fork the process that does *sweep*. Returns the parent run and the process's pidfd, once it has begun.

    Raises SystemExit when it ended before; then it has said why. To be called with signals held back: the process lets them
    come once it is ready to take them.
    """
    reading_fd, writing_fd = os.pipe2(os.O_CLOEXEC)
    sys.stdout.flush()
    sys.stderr.flush()
    pid = os.fork()
    if pid == 0:
        os.close(reading_fd)
        _run_process(sweep, writing_fd, debug=debug)
    os.close(writing_fd)
    pidfd = os.pidfd_open(pid)
    with open(reading_fd, "rb") as answer:
        run_id = answer.read().decode()
    if not run_id:
        _pid, status = os.waitpid(pid, 0)
        raise SystemExit(os.waitstatus_to_exitcode(status) or 125)
    return state.run(run_id), pidfd


def _run_process(sweep: Callable[[Begun], int], writing_fd: int, *, debug: bool) -> NoReturn:
    code = 125
    try:
        os.setsid()
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        with failures_shown(debug=debug) as ending:
            ending.code = sweep(lambda run_dir: _leave_terminal(run_dir, writing_fd))
        code = ending.code
    except BaseException:
        sys.excepthook(*sys.exc_info())
    finally:
        sys.stderr.flush()
        os._exit(code)


def _leave_terminal(run_dir: RunDir, writing_fd: int) -> None:
    """The terminal belongs to the command, and this process outlives both."""
    null_fd = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
    log_fd = os.open(run_dir.supervisor_log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    for ours, standard in ((null_fd, 0), (log_fd, 1), (log_fd, 2)):
        os.dup2(ours, standard)
    os.close(null_fd)
    os.close(log_fd)
    os.write(writing_fd, run_dir.run_id.encode())
    os.close(writing_fd)
