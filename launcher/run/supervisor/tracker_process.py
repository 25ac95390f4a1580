"""The tracker as the supervisor sees it: a forked child that speaks to MLflow, so that the supervisor never waits for a network.

What the tracker does is `launcher.tracking.tracker`. The two watch each other, because a program that calls MLflow fails when
nobody answers it for half a minute: a tracker that dies gets a successor here, and one that sees its supervisor die has another
supervisor started before it leaves.
"""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import time
from dataclasses import dataclass
from typing import Any

from launcher.errors import LaunchError
from launcher.journal.events import ORPHANED, Note
from launcher.journal.run_journal import Journal
from launcher.tracking import tracker
from runtime.state_dir import RunDir

END_TIMEOUT_S = 600.0
"""How long the supervisor waits for artifacts to be uploaded after the run's end."""

CATCH_UP_TIMEOUT_S = 30.0

_PAUSES_S = (0.0, 2.0, 10.0)
"""Before its first, second and third successor begins: what ends one at once (a full disk) may be over soon. A program waits for
half a minute."""

MOST_SUCCESSORS = len(_PAUSES_S)
"""How many trackers, and how many supervisors, a run may lose before that is taken for its own fault."""


@dataclass(slots=True)
class TrackerProcess:
    """A running tracker."""

    run_dir: RunDir
    pid: int
    pidfd: int
    """Readable when it has died."""
    ready_fd: int
    channel: socket.socket
    alive_fd: int
    answer: dict[str, Any] | None = None
    listener_fd: int | None = None
    """The container's, as long as there is one: a successor needs it."""
    successors: int = 0

    def wait_ready(self, *, timeout_s: float) -> dict[str, Any]:
        """What the program needs to know about its MLflow run; `{}` when tracking is off, late or failed."""
        if self.answer is not None:
            return self.answer
        deadline, received = time.monotonic() + timeout_s, b""
        while not received.endswith(b"\n"):
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([self.ready_fd], [], [], left)[0]:
                return {}
            chunk = os.read(self.ready_fd, 1 << 16)
            if not chunk:
                return {}
            received += chunk
        self.answer = dict(json.loads(received))
        return self.answer

    def hand_listener(self, listener_fd: int) -> None:
        """Give the gateway's listening socket to the tracker."""
        self.listener_fd = listener_fd
        try:
            socket.send_fds(self.channel, [tracker.LISTENER], [listener_fd])
        except OSError:
            return  # it has died; `pidfd` says so, and its successor gets the socket

    def catch_up(self) -> None:
        """Return when the metrics are taken in that stand in files now: some of those files are about to go."""
        try:
            self.channel.send(tracker.CATCH_UP)
            self.channel.settimeout(CATCH_UP_TIMEOUT_S)
            self.channel.recv(1)
        except OSError:
            return  # it has died, or hangs in a broken disk: the end of a run doesn't wait for a metric

    def replace(self) -> bool:
        """It has died: fork another one, which goes on where it stopped. False when that has happened too often."""
        self._release()
        if self.successors >= MOST_SUCCESSORS:
            return False
        self._take(start_tracker(self.run_dir, pause_s=_PAUSES_S[self.successors]))
        self.successors += 1
        return True

    def _take(self, other: TrackerProcess) -> None:
        """Become *other*, which serves the program from now on."""
        self.pid, self.pidfd, self.ready_fd = other.pid, other.pidfd, other.ready_fd
        self.channel, self.alive_fd = other.channel, other.alive_fd
        if self.listener_fd is not None:
            self.hand_listener(self.listener_fd)

    def finish(self) -> None:
        """The journal is closed: let the tracker send the rest, and wait for it. One that is killed meanwhile is replaced."""
        self.listener_fd = None
        ended_by_itself = False
        while not ended_by_itself:
            if self._has_died() and not self.replace():
                return
            os.close(self.alive_fd)
            self.alive_fd = -1
            if not select.select([self.pidfd], [], [], END_TIMEOUT_S)[0]:
                signal.pidfd_send_signal(self.pidfd, signal.SIGKILL)
                self._release()
                return
            ended_by_itself = self._release()

    def _has_died(self) -> bool:
        return self.pidfd < 0 or bool(select.select([self.pidfd], [], [], 0)[0])

    def _release(self) -> bool:
        """Reap it and close what belonged to it. False when it was killed."""
        if self.pidfd < 0:
            return False
        _pid, status = os.waitpid(self.pid, 0)
        self.channel.close()
        for fd in (self.pidfd, self.ready_fd, self.alive_fd):
            if fd >= 0:
                os.close(fd)
        self.pidfd = self.ready_fd = self.alive_fd = -1
        return os.WIFEXITED(status)


def start_tracker(run_dir: RunDir, *, pause_s: float = 0.0) -> TrackerProcess:
    """Fork the tracker, which begins after *pause_s*. Called while this process has one thread; what else it has
    open is closed in the tracker."""
    ready_read, ready_write = os.pipe2(os.O_CLOEXEC)
    alive_read, alive_write = os.pipe2(os.O_CLOEXEC)
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    pid = os.fork()
    if pid == 0:
        os.close(ready_read)
        os.close(alive_write)
        ours.close()
        tracker.main(
            run_dir,
            channel=theirs,
            ready_fd=ready_write,
            alive_fd=alive_read,
            pause_s=pause_s,
            orphaned=lambda: _call_supervisor(run_dir),
        )
    os.close(ready_write)
    os.close(alive_read)
    theirs.close()
    return TrackerProcess(run_dir, pid, os.pidfd_open(pid), ready_read, ours, alive_write)


def _call_supervisor(run_dir: RunDir) -> None:
    """In a tracker whose supervisor has died: give the run another one. It is noted first, so that this cannot go on forever."""
    from launcher.run.recover import recover

    journal = Journal(run_dir.journal)
    run = journal.read()
    if run.job is not None:
        return  # its job ends with it, and may begin again
    if run.orphaned >= MOST_SUCCESSORS:
        return
    try:
        journal.append(Note(ORPHANED))
    except LaunchError:
        return  # a full disk: the next command that looks at the run tries again
    recover(run_dir)
