"""The tracker as the supervisor sees it: a forked child that speaks to MLflow, so that the supervisor never waits for a network.

What the tracker does is `launcher.tracking.tracker`. It may die or hang: the run goes on, and `launch sync` sends the rest later.
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

from launcher.tracking import tracker
from runtime.state_dir import RunDir

END_TIMEOUT_S = 600.0
"""How long the supervisor waits for artifacts to be uploaded after the run's end."""


@dataclass(slots=True)
class TrackerProcess:
    """A running tracker."""

    pid: int
    ready_fd: int
    channel: socket.socket
    alive_fd: int
    answer: dict[str, Any] | None = None

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
        try:
            socket.send_fds(self.channel, [b"l"], [listener_fd])
        except OSError:
            return  # the tracker has died; the program's MLflow calls will fail, its training does not

    def finish(self) -> None:
        """The journal is closed: let the tracker send the rest, and wait for it."""
        os.close(self.alive_fd)
        self.channel.close()
        deadline = time.monotonic() + END_TIMEOUT_S
        pidfd = os.pidfd_open(self.pid)
        try:
            if not select.select([pidfd], [], [], max(0.0, deadline - time.monotonic()))[0]:
                signal.pidfd_send_signal(pidfd, signal.SIGKILL)
            os.waitpid(self.pid, 0)
        finally:
            os.close(pidfd)
            os.close(self.ready_fd)


def start_tracker(run_dir: RunDir) -> TrackerProcess:
    """Fork the tracker. Called while this process has one thread and holds no listener yet."""
    ready_read, ready_write = os.pipe2(os.O_CLOEXEC)
    alive_read, alive_write = os.pipe2(os.O_CLOEXEC)
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    pid = os.fork()
    if pid == 0:
        os.close(ready_read)
        os.close(alive_write)
        ours.close()
        tracker.main(run_dir, channel=theirs, ready_fd=ready_write, alive_fd=alive_read)
    os.close(ready_write)
    os.close(alive_read)
    theirs.close()
    return TrackerProcess(pid, ready_read, ours, alive_write)
