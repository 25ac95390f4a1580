"""Follow a started container to its end: pump its output into the logs, enforce the timeout, pass on requests to stop.

One poll loop, no threads. Requests arrive as signals to the supervisor (`launch stop`, Ctrl-C in the command):
SIGTERM = stopped, SIGINT = interrupted, SIGUSR1 = pruned, SIGUSR2 = the time limit of its cluster's job is near, a second one or
SIGQUIT = kill now. The program gets SIGTERM, and after `grace` its whole tree gets SIGKILL. What watches the run's GPUs
(`gpu_watch.py`) may ask for the end, too.
"""

from __future__ import annotations

import os
import select
import signal
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

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

if TYPE_CHECKING:
    from launcher.run.gpu_watch import GpuWatch

_PAUSED_LOOK_S = 1.0

REQUESTS = {
    signal.SIGTERM: Reason.STOPPED,
    signal.SIGINT: Reason.INTERRUPTED,
    signal.SIGUSR1: Reason.PRUNED,
    signal.SIGUSR2: Reason.TIMEOUT,
}


@dataclass(slots=True)
class Followed:
    """What following found out."""

    program: ProcessExit | None
    asked: Reason | None
    detail: str | None = None
    """Why it was asked for, beyond the reason's own meaning."""


@dataclass(slots=True)
class _Follower:
    container: Container
    pump: LogPump
    run_dir: RunDir
    inbox: SignalInbox
    tracker: TrackerProcess
    grace_s: float
    deadline: float | None
    gpus: GpuWatch | None = None
    granted_s: float = 0.0
    """Seconds for which the run stood still and by which the deadline has been put off."""
    asked: Reason | None = None
    detail: str | None = None
    kill_at: float | None = None
    silent: bool = True

    def run(self) -> Followed:
        # epoll tells what became readable first: the order of a line on stderr and the next on stdout.
        with select.epoll() as poller:
            self._follow_with(poller)
        self._drain()
        lifecycle.wait(self.container)
        ended = lifecycle.recorded_exit(self.container)
        if self.gpus is not None:
            self.gpus.finish()
            self._blame_hardware(ended, self.gpus.spoiled)
        return Followed(ended, self.asked, self.detail)

    def _blame_hardware(self, ended: ProcessExit | None, spoiled: str | None) -> None:
        """A program that failed after its GPU did may well have ended before the driver's word about that arrived."""
        if spoiled is not None and self.asked is None and ended is not None and ended.code != 0:
            self.asked, self.detail = Reason.GPU_LOST, spoiled

    def _follow_with(self, poller: select.epoll) -> None:
        for fd in (*self.pump.open_pipes, self.container.pidfd, self.inbox.fd, self.tracker.pidfd):
            if fd >= 0:  # no tracker is left when all its successors died
                poller.register(fd, select.EPOLLIN)
        watching = self._watch_gpus(poller, -1)
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
                elif fd == watching:
                    watching = self._watch_gpus(poller, watching)
                else:
                    ended = True
            self._keep_time()

    def _watch_gpus(self, poller: select.epoll, watching: int) -> int:
        """Take in what the watcher of the GPUs says on *watching* (-1: nothing yet). Returns the descriptor to watch next."""
        if self.gpus is None:
            return -1
        if watching >= 0:
            poller.unregister(watching)
            demand = self.gpus.take_in()
            if demand is not None and self.asked is None:
                self._ask(demand.reason, detail=demand.detail)
        if self.gpus.fd >= 0:
            poller.register(self.gpus.fd, select.EPOLLIN)
        return self.gpus.fd

    def _wait_s(self) -> float | None:
        now = time.monotonic()
        waits = [moment - now for moment in (self.deadline, self.kill_at) if moment is not None]
        if self.gpus is not None and self.gpus.fd >= 0:
            waits.append(self.gpus.next_look_s())
        return max(0.0, min(waits)) + 0.001 if waits else None

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
        if self.gpus is not None:
            self.gpus.look()

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

    def _ask(self, reason: Reason, *, detail: str | None = None, at_once: bool = False) -> None:
        self.asked, self.detail = reason, detail or self.detail
        journal.append(self.run_dir.journal, "stopping", reason=str(reason), detail=self.detail, at_once=at_once)
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
    gpus: GpuWatch | None = None,
    asked: Reason | None = None,
    detail: str | None = None,
    silent: bool = True,
) -> Followed:
    """Follow *container* until its init has ended, its output going to *logs*. *timeout_s* counts from now.
    A tracker that dies meanwhile is replaced.

    *asked*, *detail*: what an earlier supervisor asked of it already, and why; *silent*: whether it has said nothing so far.
    """
    pump = LogPump((container.stdout_fd, container.stderr_fd), OutputLog(logs))
    follower = _Follower(
        container, pump, run_dir, inbox, tracker, grace_s, deadline=None, gpus=gpus, asked=asked, detail=detail, silent=silent
    )
    if gpus is not None:
        gpus.init_pid = container.pid
    if timeout_s is not None:
        follower.deadline = time.monotonic() + timeout_s
        follower.granted_s = paused_s(journal.read(run_dir.journal), now=time.time())
    return follower.run()
