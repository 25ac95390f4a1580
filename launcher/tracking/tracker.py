"""The tracker: a process that stands between a run and MLflow, so that neither the supervisor nor the program waits for it.

Forked by the supervisor. It makes the MLflow run, says so on *ready_fd*, serves the gateway on the listeners that come through
*channel*, follows the files that metrics are found in, and sends everything on. When *alive_fd* ends, it looks at the journal:
a finished run is sent to its end; for one that lost its supervisor, *orphaned* is called. Killing the tracker loses nothing: the
next one, or `sync.py`, sends the rest.
This file is imported by the supervisor and stays light; the work is `tracker_loop.py`.
"""

from __future__ import annotations

import os
import select
import signal
import socket
from collections.abc import Callable
from typing import TYPE_CHECKING, NoReturn

from runtime.state_dir import RunDir

if TYPE_CHECKING:
    from launcher.plan.launch_plan import LaunchPlan

LISTENER = b"l"
"""On *channel*, with a descriptor: the gateway's listener."""

CATCH_UP = b"e"
"""On *channel*: take in what the run's files hold now, and say the same word back."""


def main(
    run_dir: RunDir,
    plan: LaunchPlan | None = None,
    *,
    channel: socket.socket | None,
    ready_fd: int,
    alive_fd: int,
    pause_s: float = 0.0,
    orphaned: Callable[[], None] | None = None,
) -> NoReturn:
    """The whole life of the tracker. One line goes to *ready_fd*:

    {"mlflow": {"run_id", "experiment_id", ...}, "token": "..."}    `provisional: true` when MLflow hasn't answered yet: the
                                                                   gateway translates the id that the program was given
    {"mlflow": null}                                               `tracking: null`
    {"error": "..."}                                               it cannot be tracked, and why

    *plan* is not needed: everything stands in the run's directory. *pause_s*: begin after so long, or when the run is over.
    *orphaned*: what to do about a run whose supervisor died.
    """
    exit_code = 1
    try:
        # The supervisor's inbox: a signal to us would be written to whatever has its descriptor's number here.
        signal.set_wakeup_fd(-1)
        # A tracker of a sweep's parent is in the terminal's foreground group: Ctrl-C is for the sweep, and its end is to be told.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        _close_others({ready_fd, alive_fd, *((channel.fileno(),) if channel else ())})
        select.select([alive_fd], [], [], pause_s)
        from launcher.tracking import tracker_loop

        exit_code = tracker_loop.run(run_dir, channel=channel, ready_fd=ready_fd, alive_fd=alive_fd)
        if orphaned is not None and not tracker_loop.is_over(run_dir):
            orphaned()
    except BaseException:
        import traceback

        traceback.print_exc()
    finally:
        os._exit(exit_code)


def _close_others(kept: set[int]) -> None:
    """Close what the supervisor had open: its lock above all, which must not outlive it in us."""
    begin = 3
    for descriptor in sorted(kept):
        os.closerange(begin, descriptor)
        begin = descriptor + 1
    os.closerange(begin, os.sysconf("SC_OPEN_MAX") if os.sysconf("SC_OPEN_MAX") < 65_536 else 65_536)
