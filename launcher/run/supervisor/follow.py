"""Follow a started container to its end: pump its output into the logs, enforce the timeout, pass on requests to stop.

One poll loop, no threads. Requests arrive as signals to the supervisor (`launch stop`, Ctrl-C in the command):
SIGTERM = stopped, SIGINT = interrupted, SIGUSR1 = pruned, SIGUSR2 = the time limit of its cluster's job is near, a second one or
SIGQUIT = kill now. The program gets SIGTERM, and after `grace` its whole tree gets SIGKILL. What watches the run's GPUs
(`gpu_watch.py`) may ask for the end, too, and so may the run's other nodes (`peers.py`), all of whose ends are waited for.
"""

from __future__ import annotations

import os
import select
import signal
import time
from typing import TYPE_CHECKING, Protocol

from launcher.journal.events import FirstOutput, Stopping
from launcher.journal.run_state import RunState
from launcher.journal.status import Reason
from launcher.run.pauses import thaw_to_end
from launcher.run.supervisor.attempt import AttemptResult, StopRequest
from launcher.run.supervisor.signal_inbox import REQUESTS
from runtime.container import lifecycle
from runtime.container.lifecycle import Container
from runtime.container.logs import LogFiles, LogPump, OutputLog
from runtime.light_dataclasses import dataclass, replace

if TYPE_CHECKING:
    from launcher.run.gpus.gpu_watch import GpuWatch
    from launcher.run.gpus.returned_gpus import ReturnedGpus
    from launcher.run.supervisor.peers import Peers
    from launcher.run.supervisor.run_experiment import Run

_PAUSED_LOOK_S = 1.0


class _Speaker(Protocol):
    """The tracker, what watches the GPUs, init about them, the other nodes."""

    @property
    def fd(self) -> int:
        """Readable when it says something; -1 when it says nothing any more."""
        ...

    def take_in(self) -> StopRequest | None:
        """Hear it. `fd` may be another afterwards: that of a successor."""
        ...


@dataclass(slots=True)
class _Follower:
    run: Run
    container: Container
    pump: LogPump
    gpus: GpuWatch | None
    peers: Peers | None
    returned: ReturnedGpus | None
    silent: bool
    deadline: float | None = None
    granted_s: float = 0.0
    """Seconds for which the run was paused and by which the deadline has been put off."""
    asked: Reason | None = None
    detail: str | None = None
    for_peers: bool = False
    followed: AttemptResult | None = None
    """Set when the program has ended."""
    kill_at: float | None = None

    def follow(self) -> AttemptResult:
        # epoll tells what became readable first: the order of a line on stderr and the next on stdout.
        with select.epoll() as poller:
            self._follow_with(poller)
        self._drain()
        lifecycle.wait(self.container)
        assert self.followed is not None
        if self.gpus is not None:
            self.gpus.finish()
            return _blaming_hardware(self.followed, self.gpus.spoiled)
        return self.followed

    def _follow_with(self, poller: select.epoll) -> None:
        known: tuple[_Speaker | None, ...] = (self.run.tracker, self.gpus, self.returned, self.peers)
        speakers = {each.fd: each for each in known if each is not None and each.fd >= 0}
        for fd in (*self.pump.open_pipes, self.container.pidfd, self.run.inbox.fd, *speakers):
            poller.register(fd, select.EPOLLIN)
        while self.followed is None or not (self.peers is None or self.peers.all_ended):
            for fd, _event in poller.poll(self._wait_s()):
                if fd in self.pump.open_pipes:
                    if not self._pump(fd):
                        poller.unregister(fd)
                elif fd == self.run.inbox.fd:
                    self._obey_signals(self.run.inbox.read())
                elif fd in speakers:
                    poller.unregister(fd)
                    speaker = speakers.pop(fd)
                    self._obey_request(speaker.take_in(), for_peers=speaker is self.peers)
                    if speaker.fd >= 0:
                        poller.register(speaker.fd, select.EPOLLIN)
                        speakers[speaker.fd] = speaker
                else:
                    poller.unregister(fd)
                    self._note_end()
            self._keep_time()

    def _note_end(self) -> None:
        """The program has ended. Where it failed, those on other nodes would wait for it."""
        ended = lifecycle.recorded_exit(self.container)
        self.followed = AttemptResult(ended, self.asked, self.detail, self.for_peers)
        if self.peers is not None and self.asked is None and (ended is None or ended.code != 0):
            self.peers.ask(Reason.STOPPED)
            self.kill_at = time.monotonic() + self.run.plan.spec.grace

    def _obey_request(self, request: StopRequest | None, *, for_peers: bool = False) -> None:
        if request is not None and self.asked is None:
            self.for_peers = for_peers
            self._ask(request.reason, detail=request.detail)

    def _wait_s(self) -> float | None:
        now = time.monotonic()
        waits = [moment - now for moment in (self.deadline, self.kill_at) if moment is not None]
        if self.gpus is not None and self.gpus.fd >= 0:
            waits.append(self.gpus.next_look_s())
        if self.peers is not None:
            waits.append(self.peers.next_look_s())
        if self.returned is not None and (look_s := self.returned.next_look_s()) is not None:
            waits.append(look_s)
        return max(0.0, min(waits)) + 0.001 if waits else None

    def _pump(self, fd: int) -> bool:
        """Copy what is there to the log. False at end of file."""
        alive = self.pump.pump(fd)
        if alive and self.silent:
            self.silent = False
            self.run.journal.append(FirstOutput())
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
        self.pump.flush()

    def _obey_signals(self, requests: list[signal.Signals]) -> None:
        for request in requests:
            if request is signal.SIGQUIT or self.asked is not None:
                self._ask(self.asked or Reason.STOPPED, at_once=True)
            else:
                self._ask(REQUESTS[request])

    def _keep_time(self) -> None:
        now = time.monotonic()
        if self.kill_at is not None and now >= self.kill_at:
            self.kill_at = None
            self._kill()
        if self.deadline is not None and now >= self.deadline and not self._put_off(now):
            self.deadline = None
            if self.asked is None:
                self._ask(Reason.TIMEOUT)
        if self.gpus is not None:
            self.gpus.look()
        if self.returned is not None:
            self.returned.look()
        if self.peers is not None:
            self._obey_request(self.peers.look(), for_peers=True)

    def _put_off(self, now: float) -> bool:
        """Whether the deadline moves, since the run has been paused meanwhile."""
        assert self.deadline is not None
        run = self.run.journal.read()
        paused = run.paused_s(time.time())
        extension, self.granted_s = paused - self.granted_s, paused
        self.deadline += max(0.0, extension)
        if run.is_paused:
            self.deadline = max(self.deadline, now + _PAUSED_LOOK_S)
        return self.deadline > now

    def _ask(self, reason: Reason, *, detail: str | None = None, at_once: bool = False) -> None:
        self.asked, self.detail = reason, detail or self.detail
        self.run.journal.append(Stopping(str(reason), self.detail, at_once))
        thaw_to_end(self.run.run_dir, self.run.journal)
        if at_once:
            self._kill()
            return
        lifecycle.signal(self.container, signal.SIGTERM)
        if self.peers is not None:
            self.peers.ask(reason)
        self.kill_at = time.monotonic() + self.run.plan.spec.grace

    def ask_again(self, stopping: Stopping, at: float) -> None:
        """An earlier supervisor wrote *stopping* down; it may have been killed before it did anything about that."""
        self.asked, self.detail = Reason.named(stopping.reason), stopping.detail
        if stopping.at_once:
            self._kill()
            return
        lifecycle.signal(self.container, signal.SIGTERM)
        self.kill_at = time.monotonic() + max(0.0, self.run.plan.spec.grace - (time.time() - at))

    def _kill(self) -> None:
        lifecycle.kill(self.container)
        if self.peers is not None:
            self.peers.kill()


def _blaming_hardware(followed: AttemptResult, spoiled: str | None) -> AttemptResult:
    """A program that failed after its GPU did may well have ended before the driver's word about that arrived."""
    program = followed.program
    if spoiled is None or followed.asked is not None or program is None or program.code == 0:
        return followed
    return replace(followed, asked=Reason.GPU_LOST, detail=spoiled)


def follow(
    run: Run,
    container: Container,
    logs: LogFiles,
    *,
    timeout_s: float | None,
    gpus: GpuWatch | None,
    peers: Peers | None = None,
    returned: ReturnedGpus | None = None,
    before: RunState | None = None,
) -> AttemptResult:
    """Follow *container* until its init has ended, its output going to *logs*. *timeout_s* counts from now.
    A tracker that dies meanwhile is replaced. *before*: what an earlier supervisor, who has died, had seen of this attempt.
    """
    pump = LogPump((container.stdout_fd, container.stderr_fd), OutputLog(logs))
    follower = _Follower(run, container, pump, gpus, peers, returned, silent=before is None or not before.has_output)
    if gpus is not None:
        gpus.init_pid = container.pid
    if timeout_s is not None:
        follower.deadline = time.monotonic() + timeout_s
        follower.granted_s = run.journal.read().paused_s(time.time())
    if before is not None and before.stopping is not None:
        follower.ask_again(before.stopping, before.stopping_at)
    return follower.follow()
