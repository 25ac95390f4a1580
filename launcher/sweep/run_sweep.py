"""Run the trials of a sweep: each an ordinary run with its own supervisor, as many side by side as fit, never in batches.

A failed trial does not stop the others unless `sweep.on_failure` or `sweep.max_failures` says so. The first Ctrl-C starts no more
trials and lets the running ones finish, the second stops them, the third kills them. When this process dies, its trials go on
under their supervisors and are recorded; `launch resume` goes on with the sweep (`restore.py`).
"""

from __future__ import annotations

import os
import signal
import time
from collections import deque
from collections.abc import Callable, Sequence

from launcher.config.spec import Sweep
from launcher.journal.status import Reason
from launcher.run.start.create_run import RunIdentity, create_run
from launcher.run.supervisor.signal_inbox import SignalInbox
from launcher.sweep.place import Place
from launcher.sweep.policy import FailurePolicy, Past, shrink
from launcher.sweep.running import ReportTail, RunningTrial
from launcher.sweep.search.best import BestPoint
from launcher.sweep.search.objective import trial_end
from launcher.sweep.search.study import Study, Suggestion
from launcher.sweep.trial import EndedTrial, Trial
from launcher.sweep.trial_log import TrialLog, Verdict
from launcher.tracking.record.run_record import RunRecord
from runtime.light_dataclasses import dataclass, field
from runtime.plurals import counted
from runtime.state_dir import RunDir, StateDir

_TICK_MS = 250


@dataclass(frozen=True, slots=True)
class SweepEnd:
    """What became of a sweep."""

    trials: list[EndedTrial]
    """The trials that were decided, by number."""
    reason: Reason
    """Why it ended: `completed` when every trial finished or was pruned, `stopped` when somebody stopped one that did not."""
    best: list[BestPoint]

    def count(self, verdict: Verdict) -> int:
        return sum(trial.verdict is verdict for trial in self.trials)


@dataclass(slots=True)
class SweepRunner:
    """A sweep under way. Whoever resumes one fills in what is known before `run`."""

    state: StateDir
    sweep_id: str
    name: str | None
    command_line: tuple[str, ...]
    study: Study
    settings: Sweep
    plan_trial: Callable[[Suggestion], Trial]
    place: Place
    tell: Callable[[str], None]
    """Says something to whoever watches; what becomes of the trials is in the log."""
    inbox: SignalInbox
    log: TrialLog
    after_each_look: Callable[[], None] = lambda: None
    """Called four times a second, and when something has happened."""
    backlog: deque[Suggestion] = field(default_factory=deque)
    """Trials that an interrupted sweep had asked for: they come before new ones."""
    retries: deque[Suggestion] = field(default_factory=deque)
    """Trials to try once more, after those that are new."""
    ended: list[EndedTrial] = field(default_factory=list)
    reasons: dict[int, list[str | None]] = field(default_factory=dict)
    """Trial → why its earlier tries ended."""
    failures: int = 0
    cut_short: Reason | None = None
    """Why trials were stopped or not started: somebody asked for that, or the time was over."""
    _next: Trial | None = None
    """The one that waits for room."""
    _last: Trial | None = None
    """The one that was started last."""
    _waits_for_room: bool = False
    """Whether there is a trial that could not start yet."""
    _requests: int = 0
    _starts: bool = True
    """Whether trials are still started."""
    _said_exhausted: bool = False
    _said_waiting: bool = False

    def run(self) -> SweepEnd:
        deadline = None if self.settings.timeout is None else time.monotonic() + self.settings.timeout
        self.place.wake_on(self.inbox.fd)
        while True:
            self._start_what_fits()
            self.log.total(self.study.total)
            self.log.place(self.place.status_words())
            if not self.place.running and not self._waits_for_room:
                break
            if deadline is not None and time.monotonic() >= deadline:
                deadline = None
                self._stop_all()
            for over in self.place.wait(_TICK_MS):
                self.end(*over)
            self._obey(self.inbox.read())
            self._prune()
            self.after_each_look()
        return SweepEnd(sorted(self.ended, key=lambda trial: trial.number), self._reason(), self.study.best())

    def _reason(self) -> Reason:
        """By what became of the trials, not by what was asked for: all may have ended before anybody could stop one."""
        failed = any(trial.verdict is Verdict.FAILED for trial in self.ended)
        if len(self.ended) == self.study.total:
            return Reason.PROGRAM if failed else Reason.COMPLETED
        return self.cut_short or (Reason.PROGRAM if failed else Reason.STOPPED)

    def end(self, running: RunningTrial, record: RunRecord) -> None:
        """Take in how a try ended: its trial is decided, or tried again."""
        trial, policy = running.trial, FailurePolicy.of(self.settings)
        end = trial_end(record, self.settings)
        smaller = shrink(self.settings.on_oom, trial.plan.spec) if record.reason == Reason.OOM else ()
        past = Past.of(self.reasons.get(trial.number, []))
        verdict = policy.verdict(record, end, past, shrinks=bool(smaller))
        final = verdict.is_final
        self.log.ended(trial.number, record.run_id, verdict, reason=record.reason, end=end if final else None)
        if verdict is Verdict.AGAIN:
            self.try_again(trial, record.reason)
        if not final:
            return
        self.study.tell(trial.number, end)
        self.ended.append(EndedTrial(trial.number, trial.overrides, record.run_id, verdict))
        if verdict is Verdict.FAILED:
            self.failures += 1
            if policy.ends_after(self.failures) and self._starts:
                self.tell(f"{counted(self.failures, 'trial')} failed: no more are started")
                self._starts = False

    def try_again(self, trial: Trial, reason: str | None) -> None:
        """Put *trial* into the queue once more, with less when it ran out of memory."""
        self.reasons.setdefault(trial.number, []).append(reason)
        self.study.restart(trial.number)
        extra = shrink(self.settings.on_oom, trial.plan.spec) if reason == Reason.OOM else ()
        if extra:
            self.tell(f"trial {trial.number} ran out of memory: tried again with {' '.join(extra)}")
        changed = {override.partition("=")[0] for override in extra}
        kept = (override for override in trial.overrides if override.partition("=")[0] not in changed)
        self.retries.append(Suggestion(trial.number, 0, (*kept, *extra)))

    def _start_what_fits(self) -> None:
        self._waits_for_room = self._starts
        if self._starts:
            with self.place.admission_lock():
                while (trial := self._next_that_fits()) is not None:
                    self._start(trial)
        self.place.announce_demand(self._number_left() if self._waits_for_room else 0)

    def _number_left(self) -> int | None:
        """Trials to start that are known of; None when the search may go on without end."""
        unasked = self.study.unasked
        return None if unasked is None else unasked + len(self.backlog) + len(self.retries) + (self._next is not None)

    def _next_that_fits(self) -> Trial | None:
        """A trial to start now; None when there is none, or no room for it yet."""
        if self._next is None and self._better_asks_later():
            return None
        if self._next is None:
            asked = self._ask()
            self._next = None if asked is None else self.plan_trial(asked)
        if self._next is None:
            self._waits_for_room = False
            return None
        if not self.place.admits(self._next):
            self._say_why_nothing_runs()
            return None
        trial, self._next = self._next, None
        return trial

    def _say_why_nothing_runs(self) -> None:
        if not self.place.running and not self._said_waiting and (words := self.place.why_it_waits()) is not None:
            self._said_waiting = True
            self.tell(words)

    def _better_asks_later(self) -> bool:
        """While there is no room for a trial like the last one: what ends meanwhile shall be known to a search that learns."""
        if self._last is None or not self.study.learns or self.backlog or self.study.all_asked:
            return False
        return not self.place.admits(self._last)

    def _ask(self) -> Suggestion | None:
        if self.backlog:
            return self.backlog.popleft()
        asked = self.study.ask()
        if asked is not None:
            self.log.asked(asked)
            return asked
        if self.retries:
            return self.retries.popleft()
        if self.study.exhausted and self.settings.trials and self.settings.sampler != "grid" and not self._said_exhausted:
            self._said_exhausted = True
            words = f"the space has no more points: {self.study.total} trials where {self.settings.trials} were asked for"
            self.tell(words)
        return None

    def _start(self, trial: Trial) -> None:
        identity = RunIdentity(
            name=f"{self.name or trial.plan.spec.name}-{trial.number}",
            command_line=self.command_line,
            parent_run_id=self.sweep_id,
            sweep_id=self.sweep_id,
            trial=trial.number,
        )
        run_dir, lock_fd = create_run(trial.plan, trial.image_digest, state=self.state, identity=identity)
        node = self.place.node_for(trial)
        self.log.started(trial.number, run_dir.run_id, trial.overrides, gpus=trial.need.gpus, node=node)
        self.place.start(RunningTrial(trial, run_dir, self.tail(run_dir)), lock_fd)
        self._last = trial

    def tail(self, run_dir: RunDir) -> ReportTail | None:
        """Where a trial's reports come from; None when nothing is pruned."""
        return None if self.settings.pruner is None else ReportTail(run_dir, self.settings.metrics[0])

    def _prune(self) -> None:
        for running in self.place.running:
            for value in running.tail.new_values() if running.tail is not None else ():
                for number in self.study.report(running.trial.number, value):
                    self.place.prune(number)

    def _stop_all(self) -> None:
        self.cut_short = Reason.TIMEOUT
        self.tell("`sweep.timeout` is over: stopping the running trials")
        self._starts = False
        self.place.signal(signal.SIGTERM)

    def _kill_all(self) -> None:
        self.cut_short = Reason.STOPPED
        self.tell("killing the running trials")
        self._starts = False
        self.place.signal(signal.SIGQUIT)

    def _obey(self, requests: Sequence[signal.Signals]) -> None:
        for request in requests:
            if request is signal.SIGHUP:
                _leave_terminal()
                continue
            if request is signal.SIGQUIT:
                self._kill_all()
                continue
            self.cut_short = Reason.STOPPED if request is signal.SIGTERM else Reason.INTERRUPTED
            self._requests += 2 if request is signal.SIGTERM else 1
            self._starts = False
            if self._requests == 1:
                self.place.leave_line()
                number = self.place.number_open
                self.tell(
                    f"finishing {counted(number, 'running trial')}, again to stop" if number else "no more trials are started"
                )
                continue
            self.tell("stopping the running trials, again to kill them")
            self.place.signal(signal.SIGINT)


def _leave_terminal() -> None:
    """The terminal is gone (SIGHUP): the sweep goes on without a word."""
    null_fd = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
    for fd in (0, 1, 2):
        os.dup2(null_fd, fd)
    os.close(null_fd)
