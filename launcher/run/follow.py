"""Follow a started container to its end: pump its output into the logs, enforce the timeout, pass on requests to stop.

One poll loop, no threads. Requests arrive as signals to the supervisor (`launch stop`, Ctrl-C in the command):
SIGTERM = stopped, SIGINT = interrupted, a second one or SIGQUIT = kill now. The program gets SIGTERM, and after `grace`
its whole tree gets SIGKILL.
"""

from __future__ import annotations

import os
import select
import signal
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field

from launcher.run.signal_inbox import SignalInbox
from launcher.run.tracker_process import TrackerProcess
from launcher.tracking import journal
from launcher.tracking.status import Reason
from runtime.container import lifecycle
from runtime.container.lifecycle import Container
from runtime.container.spec import ProcessExit
from runtime.state_dir import RunDir

_CHUNK = 1 << 16

REQUESTS = {signal.SIGTERM: Reason.STOPPED, signal.SIGINT: Reason.INTERRUPTED}


@dataclass(slots=True)
class Followed:
    """What following found out."""

    program: ProcessExit | None
    asked: Reason | None


@dataclass(slots=True)
class _Follower:
    container: Container
    run_dir: RunDir
    inbox: SignalInbox
    tracker: TrackerProcess
    grace_s: float
    deadline: float | None
    asked: Reason | None = None
    kill_at: float | None = None
    logs: dict[int, int] = field(default_factory=dict)
    silent: bool = True

    def run(self) -> Followed:
        poller = select.poll()
        for fd in (*self.logs, self.container.pidfd, self.inbox.fd, self.tracker.pidfd):
            if fd >= 0:  # no tracker is left when all its successors died
                poller.register(fd, select.POLLIN)
        ended = False
        while not ended:
            for fd, _event in poller.poll(self._wait_ms()):
                if fd in self.logs:
                    if not self._pump(fd):
                        poller.unregister(fd)
                elif fd == self.inbox.fd:
                    self._obey(self.inbox.read())
                elif fd == self.tracker.pidfd:
                    poller.unregister(fd)
                    if self.tracker.replace():
                        poller.register(self.tracker.pidfd, select.POLLIN)
                else:
                    ended = True
            self._keep_time()
        self._drain()
        return Followed(lifecycle.wait(self.container), self.asked)

    def _wait_ms(self) -> float | None:
        moments = [moment for moment in (self.deadline, self.kill_at) if moment is not None]
        return max(0.0, (min(moments) - time.monotonic()) * 1000) + 1 if moments else None

    def _pump(self, fd: int) -> bool:
        """Copy what is there to the log. False at end of file."""
        chunk = os.read(fd, _CHUNK)
        if not chunk:
            return False
        if self.silent:
            self.silent = False
            journal.append(self.run_dir.journal, "first_output")
        _write_all(self.logs[fd], chunk)
        return True

    def _drain(self) -> None:
        """The processes are gone: what is left in the pipes is all there will ever be."""
        for fd in self.logs:
            os.set_blocking(fd, False)
            try:
                while self._pump(fd):
                    pass
            except BlockingIOError:
                continue

    def _obey(self, requests: list[signal.Signals]) -> None:
        for request in requests:
            if request is signal.SIGQUIT or self.asked is not None:
                self._ask(self.asked or Reason.STOPPED, at_once=True)
            else:
                self._ask(REQUESTS[request])

    def _keep_time(self) -> None:
        now = time.monotonic()
        if self.kill_at is not None and now >= self.kill_at:
            self.kill_at = None
            lifecycle.kill(self.container)
        if self.deadline is not None and now >= self.deadline:
            self.deadline = None
            if self.asked is None:
                self._ask(Reason.TIMEOUT)

    def _ask(self, reason: Reason, *, at_once: bool = False) -> None:
        self.asked = reason
        journal.append(self.run_dir.journal, "stopping", reason=str(reason), at_once=at_once)
        if at_once:
            lifecycle.kill(self.container)
            return
        lifecycle.signal(self.container, signal.SIGTERM)
        self.kill_at = time.monotonic() + self.grace_s


def follow(
    container: Container,
    run_dir: RunDir,
    inbox: SignalInbox,
    log_fds: tuple[int, int],
    tracker: TrackerProcess,
    *,
    timeout_s: float | None,
    grace_s: float,
    asked: Reason | None = None,
    silent: bool = True,
) -> Followed:
    """Follow *container* until its init has ended, its output going to *log_fds*. *timeout_s* counts from now.
    A tracker that dies meanwhile is replaced.

    *asked*: what an earlier supervisor asked of it already; *silent*: whether it has said nothing so far.
    """
    deadline = None if timeout_s is None else time.monotonic() + timeout_s
    logs = dict(zip((container.stdout_fd, container.stderr_fd), log_fds, strict=True))
    return _Follower(container, run_dir, inbox, tracker, grace_s, deadline, asked=asked, logs=logs, silent=silent).run()


@contextmanager
def opened_logs(run_dir: RunDir) -> Iterator[tuple[int, int]]:
    """Descriptors of the run's stdout and stderr logs, in append mode: init writes to them too when its supervisor died."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
    with ExitStack() as opened:
        fds = [os.open(path, flags, 0o600) for path in (run_dir.stdout, run_dir.stderr)]
        for fd in fds:
            opened.callback(os.close, fd)
        yield fds[0], fds[1]


def _write_all(fd: int, data: bytes) -> None:
    """write(2) until all is written. A full disk must not end the training: what does not fit is dropped from the log."""
    view = memoryview(data)
    while view:
        try:
            view = view[os.write(fd, view) :]
        except OSError:
            return
