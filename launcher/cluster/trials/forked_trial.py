"""A trial in a worker job: a fork that becomes its supervisor, as a job of its own would (`launcher.cluster.job`)."""

from __future__ import annotations

import os
import select
import signal
import time
import traceback
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import partial
from typing import NoReturn

from launcher.cluster import job
from launcher.cluster.trials.exchange import Requests
from launcher.cluster.trials.last_word import close
from launcher.journal.journal import Follower
from launcher.journal.run_journal import Journal
from launcher.run.start.supervisor_link import signal_supervisor
from launcher.run.supervisor.attempt import Attempt
from runtime.kernel.processes import end_with
from runtime.state_dir import RunDir


@dataclass(slots=True)
class ForkedTrial:
    """One run, as the worker sees it."""

    run_dir: RunDir
    pidfd: int
    is_stopping: bool = False
    """Whether it has been asked to end, by whomever."""
    _begun_at: float = field(default_factory=time.monotonic)
    _undelivered: list[signal.Signals] = field(default_factory=list)
    _journal: Follower = field(init=False)
    _requests: Requests = field(init=False)

    def __post_init__(self) -> None:
        self._journal, self._requests = Follower(self.run_dir.journal), Requests(self.run_dir)

    @property
    def age_s(self) -> float:
        return time.monotonic() - self._begun_at

    def look(self) -> bool:
        """Pass on what is asked of it. Whether its program has ended and given back what it held."""
        self._undelivered += self._requests.new()
        self._deliver()
        happened = {event.name for event in self._journal.new_events()}
        self.is_stopping = self.is_stopping or "stopping" in happened
        return "finished" in happened or self._has_ended()

    def signal(self, signum: signal.Signals) -> None:
        self._undelivered.append(signum)
        self._deliver()

    def reap(self) -> bool:
        """Whether the supervisor has ended; then this object is done with."""
        if not self._has_ended():
            return False
        os.waitid(os.P_PIDFD, self.pidfd, os.WEXITED)
        os.close(self.pidfd)
        return True

    def _deliver(self) -> None:
        """A supervisor hears nothing before it holds its lock, which takes it some milliseconds: what comes earlier is kept."""
        while self._undelivered and signal_supervisor(self.run_dir, self._undelivered[0]):
            del self._undelivered[0]

    def _has_ended(self) -> bool:
        return bool(select.select([self.pidfd], [], [], 0)[0])


def fork_trial(run_dir: RunDir, *, is_first: bool, apart_from: Iterable[int]) -> ForkedTrial:
    """Fork the supervisor of *run_dir*, which closes the worker's descriptors *apart_from*. It ends with the worker, and the
    trial with it: what is left of a job that is over would use a GPU that is another's."""
    worker = os.getpid()
    pid = os.fork()
    if pid == 0:
        _become_supervisor(run_dir, worker, apart_from, partial(close, is_first=is_first))
    return ForkedTrial(run_dir, os.pidfd_open(pid))


def _become_supervisor(
    run_dir: RunDir, worker: int, fds: Iterable[int], last_word: Callable[[RunDir, Journal, Attempt], None]
) -> NoReturn:
    try:
        end_with(worker)
        signal.set_wakeup_fd(-1)
        os.setsid()
        log_fd = os.open(run_dir.supervisor_log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        for fd in (1, 2):
            os.dup2(log_fd, fd)
        for fd in (log_fd, *fds):
            os.close(fd)
        job.main(run_dir, close=last_word)
    except SystemExit as left:
        os._exit(int(left.code or 0))
    except BaseException:
        traceback.print_exc()
    os._exit(1)
