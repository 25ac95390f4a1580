"""The tracker: a process that stands between runs and MLflow, so that neither supervisors nor programs wait for it.

There is one program, for a run or for many. A supervisor forks it for its run; the runs of a command with several share one,
which the fork server forks and which is given runs through a *control* socket. It makes the MLflow run, serves the gateway on the
container's listener, follows the files that metrics are found in, and sends everything on. Killing it loses nothing: the
supervisors notice, and fork one each, which goes on where this stopped.

Each run has a channel to its supervisor, by which each of the two sees the other die (`tracker_protocol.py`). This file is
imported by the supervisor and stays light; the work is `tracker_loop.py`.
"""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Callable
from typing import NoReturn

from runtime.kernel.processes import close_fds
from runtime.state_dir import RunDir


def serve(
    *,
    run: tuple[RunDir, socket.socket] | None = None,
    control: socket.socket | None = None,
    token: str | None = None,
    pause_s: float = 0.0,
    call_supervisor: Callable[[RunDir], None] | None = None,
) -> NoReturn:
    """The whole life of the tracker: that of *run* with its channel, or that of all runs that come through *control*.

    *token*: the placement of a cluster that *run* is tracked for. *pause_s*: begin with it after so long, or when it is over.
    *call_supervisor*: what to do about a run whose supervisor died. Everything else about a run stands in its directory.
    """
    exit_code = 1
    try:
        # The supervisor's inbox: a signal to us would be written to whatever has its descriptor's number here.
        signal.set_wakeup_fd(-1)
        # A tracker of a sweep's parent is in the terminal's foreground group: Ctrl-C is for the sweep, and its end is to be told.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        # A supervisor's lock above all must not outlive it in us.
        close_fds(keep=[each.fileno() for each in (control, run and run[1]) if each is not None])
        from launcher.tracking.tracker_loop import Tracker

        tracker = Tracker(control, call_supervisor=call_supervisor)
        if run is not None:
            tracker.add_run(*run, token=token, pause_s=pause_s)
        exit_code = 0 if tracker.serve() else 1
    except BaseException:
        import traceback

        traceback.print_exc()
    finally:
        os._exit(exit_code)
