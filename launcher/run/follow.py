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
from dataclasses import dataclass

from launcher.run.pauses import is_paused, let_go_on, paused_s
from launcher.run.signal_inbox import SignalInbox
from launcher.run.tracker_process import TrackerProcess
from launcher.tracking import journal
from launcher.tracking.status import Reason
from runtime.container import lifecycle
from runtime.container.lifecycle import Container
from runtime.container.logs import LogFiles, LogPump, OutputLog
from runtime.container.spec import ProcessExit
from runtime.state_dir import RunDir

_PAUSED_LOOK_S = 1.0

REQUESTS = {signal.SIGTERM: Reason.STOPPED, signal.SIGINT: Reason.INTERRUPTED}


@dataclass(slots=True)
class Followed:
    """What following found out."""

    program: ProcessExit | None
    asked: Reason | None


@dataclass(slots=True)
class _Follower:
    container: Container
    pump: LogPump
    run_dir: RunDir
    inbox: SignalInbox
    tracker: TrackerProcess
    grace_s: float
    deadline: float | None
    granted_s: float = 0.0
    """Seconds for which the run stood still and by which the deadline has been put off."""
    asked: Reason | None = None
    kill_at: float | None = None
    silent: bool = True

    def run(self) -> Followed:
        # epoll tells what became readable first: the order of a line on stderr and the next on stdout.
        with select.epoll() as poller:
            self._follow_with(poller)
        self._drain()
        lifecycle.wait(self.container)
        return Followed(lifecycle.recorded_exit(self.container), self.asked)

    def _follow_with(self, poller: select.epoll) -> None:
        for fd in (*self.pump.open_pipes, self.container.pidfd, self.inbox.fd, self.tracker.pidfd):
            if fd >= 0:  # no tracker is left when all its successors died
                poller.register(fd, select.EPOLLIN)
        ended = False
        while not ended:
            for fd, _event in poller.poll(self._wait_s()):
                if fd in self.pump.open_pipes:
                    if not self._pump(fd):
                        poller.unregister(fd)
                elif fd == self.inbox.fd:
                    self._obey(self.inbox.read())
                elif fd == self.tracker.pidfd:
                    poller.unregister(fd)
                    if self.tracker.replace():
                        poller.register(self.tracker.pidfd, select.EPOLLIN)
                else:
                    ended = True
            self._keep_time()

    def _wait_s(self) -> float | None:
        moments = [moment for moment in (self.deadline, self.kill_at) if moment is not None]
        return max(0.0, min(moments) - time.monotonic()) + 0.001 if moments else None

    def _pump(self, fd: int) -> bool:
        """Copy what is there to the log. False at end of file."""
        alive = self.pump.pump(fd)
        if alive and self.silent:
            self.silent = False
            journal.append(self.run_dir.journal, "first_output")
        return alive

    def _drain(self) -> None:
        """The processes are gone: what is left in the pipes is all there will ever be."""
        for fd in self.pump.open_pipes:
            os.set_blocking(fd, False)
            try:
                while self._pump(fd):
                    pass
            except BlockingIOError:
                continue
        self.pump.settle()

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
        if self.deadline is not None and now >= self.deadline and not self._put_off(now):
            self.deadline = None
            if self.asked is None:
                self._ask(Reason.TIMEOUT)

    def _put_off(self, now: float) -> bool:
        """Whether the deadline moves, since the run has been paused meanwhile."""
        assert self.deadline is not None
        events = journal.read(self.run_dir.journal)
        paused = paused_s(events, now=time.time())
        extension, self.granted_s = paused - self.granted_s, paused
        self.deadline += max(0.0, extension)
        if is_paused(events):
            self.deadline = max(self.deadline, now + _PAUSED_LOOK_S)
        return self.deadline > now

    def _ask(self, reason: Reason, *, at_once: bool = False) -> None:
        self.asked = reason
        journal.append(self.run_dir.journal, "stopping", reason=str(reason), at_once=at_once)
        let_go_on(self.run_dir)
        if at_once:
            lifecycle.kill(self.container)
            return
        lifecycle.signal(self.container, signal.SIGTERM)
        self.kill_at = time.monotonic() + self.grace_s


def follow(
    container: Container,
    run_dir: RunDir,
    inbox: SignalInbox,
    logs: LogFiles,
    tracker: TrackerProcess,
    *,
    timeout_s: float | None,
    grace_s: float,
    asked: Reason | None = None,
    silent: bool = True,
) -> Followed:
    """Follow *container* until its init has ended, its output going to *logs*. *timeout_s* counts from now.
    A tracker that dies meanwhile is replaced.

    *asked*: what an earlier supervisor asked of it already; *silent*: whether it has said nothing so far.
    """
    pump = LogPump((container.stdout_fd, container.stderr_fd), OutputLog(logs))
    follower = _Follower(container, pump, run_dir, inbox, tracker, grace_s, deadline=None, asked=asked, silent=silent)
    if timeout_s is not None:
        follower.deadline = time.monotonic() + timeout_s
        follower.granted_s = paused_s(journal.read(run_dir.journal), now=time.time())
    return follower.run()
