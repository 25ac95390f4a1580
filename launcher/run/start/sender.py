"""The process that sends records of a sweep's short trials to MLflow, one after the other: a fork of the fork server that stays.

A supervisor whose run was over before it had a tracker asks it (`late_tracker.py`). Nothing depends on it: what it leaves unsent,
killed or refused, the supervisor's own tracker sends. All wait for the one whose turn it is, so a server that lets it wait is
left to those trackers. It ends when the fork server and all who could ask have ended.
"""

from __future__ import annotations

import fcntl
import os
import select
import signal
import socket
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from launcher.errors import LaunchError
from runtime.state_dir import RunDir

_SENDER_FD = 100

_PATIENCE_S = 5.0
"""How long a supervisor waits for its turn and its end before it does the sending itself."""

_ANSWER_S = 10.0
"""How long the server may take for an answer: as a tracker's."""

_SLOW_S = 1.0
_REST_S = 5.0
"""A failure that took so long is followed by so long a time without another try."""


@dataclass(frozen=True, slots=True)
class Sender:
    """The supervisors' side: one socket for all of them."""

    fd: int

    def send(self, run_dir: RunDir) -> None:
        """Return when it has sent what it could, or is not there any more."""
        done, theirs = os.pipe2(os.O_CLOEXEC)
        try:
            with socket.socket(fileno=os.dup(self.fd)) as asking:
                socket.send_fds(asking, [os.fsencode(run_dir.root)], [theirs])
        except OSError:
            return  # it has ended, or so many ask that none more may
        finally:
            os.close(theirs)
            with open(done, "rb", buffering=0) as end:
                select.select([end], [], [], _PATIENCE_S)

    @classmethod
    def fork(cls) -> Sender:
        """Start the process, with nothing else of ours open: a run's lock must not outlive its supervisor in it."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        if os.fork() == 0:
            kept = theirs.fileno()
            os.closerange(3, kept)
            os.closerange(kept + 1, _SENDER_FD + 1)
            _serve(theirs)
        theirs.close()
        ours.setblocking(False)
        with ours:  # out of the way of the low numbers, which a supervisor closes
            return cls(fcntl.fcntl(ours, fcntl.F_DUPFD_CLOEXEC, _SENDER_FD))


def _serve(asked: socket.socket) -> NoReturn:
    from launcher.tracking.sync import sync_run

    os.setsid()
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    os.umask(0o077)
    rests_until = 0.0
    while True:
        message, fds, _flags, _address = socket.recv_fds(asked, 4096, 1)
        if not message:
            os._exit(0)
        began = time.monotonic()
        if began >= rests_until and all(map(_is_waited_for, fds)):
            sent = _send(RunDir(Path(os.fsdecode(message))), sync_run)
            if not sent and time.monotonic() - began > _SLOW_S:
                rests_until = time.monotonic() + _REST_S
        for fd in fds:
            os.close(fd)


def _is_waited_for(done: int) -> bool:
    """Whether the other end of the pipe is open: who has lost patience has closed it."""
    poller = select.poll()
    poller.register(done, 0)
    return not poller.poll(0)


def _send(run_dir: RunDir, sync_run: Callable[..., bool]) -> bool:
    try:
        return sync_run(run_dir, timeout_s=_ANSWER_S)
    except LaunchError:
        return False  # the run's own tracker, which comes next, tells why
    except Exception:
        with suppress(OSError), run_dir.supervisor_log.open("a") as log:
            traceback.print_exc(file=log)
        return False
