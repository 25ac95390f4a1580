"""A trial in a worker job: a fork that becomes its supervisor, as a job of its own would (`launcher.cluster.job`).

Its last word says what its program did, or that its worker's job was ended under it. A signal doesn't say which. What is asked of
a trial stands in its requests; an end that nobody asked for came with the job's, and such a trial is tried again by another
worker.
"""

from __future__ import annotations

import json
import os
import signal
import time
import traceback
from collections.abc import Callable, Iterable
from functools import partial
from typing import NoReturn

from launcher.cluster import job
from launcher.cluster.engine import JobPhase
from launcher.cluster.submission import engine_named
from launcher.cluster.trials.exchange import has_requests, new_requests
from launcher.errors import LaunchError
from launcher.journal.growing_file import GrowingFile
from launcher.journal.run_journal import Follower, Journal
from launcher.journal.run_state import RunState
from launcher.journal.status import Reason
from launcher.run.start.supervisor_link import signal_supervisor
from launcher.run.supervisor import supervisor
from launcher.run.supervisor.attempt import Attempt
from launcher.run.supervisor.outcome import ExitOutcome
from runtime.kernel import processes
from runtime.light_dataclasses import dataclass, field, replace
from runtime.state_dir import RunDir

_ENDED = "its worker's job was ended"
_OUT_OF_TIME = "its worker's job came to the end of its time, some of which other trials had"


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
    _requests: GrowingFile = field(init=False)

    def __post_init__(self) -> None:
        self._journal, self._requests = Follower(self.run_dir.journal), GrowingFile(self.run_dir.requests)

    @property
    def age_s(self) -> float:
        return time.monotonic() - self._begun_at

    def look(self) -> bool:
        """Pass on what is asked of it. Whether its program has ended and given back what it held."""
        self._undelivered += new_requests(self._requests)
        self._deliver()
        state = self._journal.look()
        self.is_stopping = self.is_stopping or state.stopping is not None
        return state.is_over or self._has_ended()

    def signal(self, signum: signal.Signals) -> None:
        self._undelivered.append(signum)
        self._deliver()

    def reap(self) -> bool:
        """Whether the supervisor has ended; then this object is done with."""
        if not self._has_ended():
            return False
        processes.reap(self.pidfd)
        os.close(self.pidfd)
        return True

    def _deliver(self) -> None:
        """A supervisor hears nothing before it holds its lock, which takes it some milliseconds: what comes earlier is kept."""
        while self._undelivered and signal_supervisor(self.run_dir, self._undelivered[0]):
            del self._undelivered[0]

    def _has_ended(self) -> bool:
        return processes.wait_ended(self.pidfd, timeout_s=0)


def fork_trial(run_dir: RunDir, *, is_first: bool, apart_from: Iterable[int]) -> ForkedTrial:
    """Fork the supervisor of *run_dir*, which closes the worker's descriptors *apart_from*. It ends with the worker, and the
    trial with it: what is left of a job that is over would use a GPU that is another's."""
    worker = os.getpid()
    pid = os.fork()
    if pid == 0:
        _become_supervisor(run_dir, worker, apart_from, partial(close_trial, is_first=is_first))
    return ForkedTrial(run_dir, os.pidfd_open(pid))


def _become_supervisor(
    run_dir: RunDir, worker: int, fds: Iterable[int], last_word: Callable[[RunDir, Journal, Attempt], None]
) -> NoReturn:
    try:
        processes.end_with(worker)
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


def close_trial(run_dir: RunDir, journal: Journal, attempt: Attempt, *, is_first: bool) -> None:
    """*is_first*: of its worker, so that it had all of the job's time."""
    outcome = attempt.outcome
    why = None if has_requests(run_dir) else _why_the_job_ended_it(run_dir, journal.read(), outcome, is_first=is_first)
    if why is not None:
        outcome = replace(outcome, reason=Reason.PREEMPTED, exit_code=143, detail=why)
    supervisor.close(run_dir, journal, replace(attempt, outcome=outcome))


def _why_the_job_ended_it(run_dir: RunDir, state: RunState, outcome: ExitOutcome, *, is_first: bool) -> str | None:
    """Why it was the job that ended the trial; None when it was not."""
    if outcome.reason is Reason.TIMEOUT:
        return None if is_first or _is_over_its_own_timeout(run_dir, state) else _OUT_OF_TIME
    if outcome.reason in (Reason.STOPPED, Reason.INTERRUPTED):
        return _ENDED
    # Slurm sends SIGTERM to the program, too, and that one may end before we hear of anything.
    if outcome.reason in (Reason.PROGRAM, Reason.LOST) and (outcome.signal or outcome.exit_code > 125):
        return _ENDED if _is_job_ending(state) else None
    return None


def _is_over_its_own_timeout(run_dir: RunDir, state: RunState) -> bool:
    timeout = json.loads(run_dir.spec.read_bytes()).get("timeout")
    return timeout is not None and state.started_at is not None and time.time() - state.started_at >= timeout


def _is_job_ending(state: RunState) -> bool:
    submitted = state.job
    if submitted is None:
        return False
    try:
        status = engine_named(submitted.engine).poll([submitted.job])[submitted.job]
        return status.phase not in (JobPhase.RUNNING, JobPhase.SUSPENDED)
    except LaunchError:
        return False
