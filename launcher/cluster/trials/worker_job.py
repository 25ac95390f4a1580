"""One worker job: the script that the cluster is given for it, and how it stands, as the sweep's process sees it."""

from __future__ import annotations

import hashlib
import time
from pathlib import Path

from launcher.cluster.submission import script_for
from launcher.cluster.trials.exchange import (
    Began,
    JobOver,
    Leave,
    Left,
    Report,
    RunTrial,
    Submitted,
    TrialFree,
    TrialOver,
    WorkerDir,
    look_pause_s,
    new_orders,
    new_reports,
)
from launcher.config.spec import ExperimentSpec
from launcher.journal.growing_file import GrowingFile
from launcher.journal.placement import Job
from launcher.plan.launch_plan import LaunchPlan
from launcher.run.start.supervisor_start import supervisor_argv
from runtime.light_dataclasses import dataclass, field, replace

SEVERAL_TRIALS_S = 3600.0
"""What a worker's job asks for where only one trial's time is known and is less."""

_PENDING_S = 2.0
"""The longest pause between two looks at the reports of a worker that hasn't begun, which may take days."""


@dataclass(slots=True)
class WorkerJob:
    """From its submission to the end of its job."""

    directory: WorkerDir
    job: Job
    shape: str
    """Which trials it can run: those that ask the cluster for the same."""
    current: str | None = None
    """The run that it has been given and that isn't free yet."""
    trials_given: int = 0
    """How many so far."""
    node: str | None = None
    until: float | None = None
    """When its job's time ends (Unix seconds), if that is known."""
    left_because: str | None = None
    """Why it takes no more trials."""
    is_dismissed: bool = False
    is_over: bool = False
    """Whether its job is."""
    ended: set[str] = field(default_factory=set)
    """Runs whose supervisors have ended, too."""
    since: float = field(default_factory=time.monotonic)
    """When it came to what it does now: it waits in the queue, is idle, or runs a trial."""
    _next_look: float = 0.0
    _reports: GrowingFile = field(init=False)

    def __post_init__(self) -> None:
        self._reports = GrowingFile(self.directory.reports)

    @property
    def has_begun(self) -> bool:
        return self.node is not None

    @property
    def is_staying(self) -> bool:
        """Whether it runs, or will run, one more trial."""
        return not (self.is_over or self.left_because or self.is_dismissed)

    @property
    def is_pending(self) -> bool:
        return self.is_staying and not self.has_begun

    @property
    def is_idle(self) -> bool:
        return self.is_staying and self.has_begun and self.current is None

    def idle_s(self) -> float:
        return time.monotonic() - self.since if self.is_idle else 0.0

    def has_time_for(self, seconds: float) -> bool:
        """Whether a trial of so long would end before the job's time does. Its first has whatever there is."""
        return self.until is None or not self.trials_given or time.time() + seconds < self.until

    def give(self, run_id: str) -> None:
        self.directory.order(RunTrial(run_id))
        self._note_given(run_id)

    def dismiss(self) -> None:
        """It ends after the trial that it has."""
        self.directory.order(Leave())
        self.is_dismissed = True

    def close(self) -> None:
        """Its job is over, for whoever goes on with the sweep, too."""
        self.directory.order(JobOver())
        self.is_over = True

    def read_reports(self, *, now: bool = False) -> list[Report]:
        """Its reports since the last time; unless *now*, only when it is time to look again."""
        moment = time.monotonic()
        if not now and moment < self._next_look:
            return []
        reports = new_reports(self._reports)
        for report in reports:
            self._take_in(report)
        quiet_s = moment - self.since
        self._next_look = moment + (look_pause_s(quiet_s) if self.has_begun else look_pause_s(quiet_s, longest_s=_PENDING_S))
        return reports

    def next_look_s(self) -> float:
        return max(0.0, self._next_look - time.monotonic())

    def _take_in(self, report: Report) -> None:
        match report:
            case Began(node, until):
                self.node, self.until, self.since = node, until, time.monotonic()
            case TrialFree(run) if run == self.current:
                self.current, self.since = None, time.monotonic()
            case TrialOver(run):
                self.ended.add(run)
            case Left(why):
                self.left_because = why

    def _note_given(self, run_id: str) -> None:
        self.current, self.since = run_id, time.monotonic()
        self.trials_given += 1
        self._next_look = 0.0


def add_worker(directory: WorkerDir, engine: str, job: str, shape: str) -> WorkerJob:
    """A worker that *job* will be."""
    directory.order(Submitted(engine, job, shape))
    return WorkerJob(directory, Job(engine, job, is_workers=True), shape)


def read_worker(directory: WorkerDir) -> WorkerJob | None:
    """A worker that an earlier process of the sweep has submitted; None for one that never was."""
    worker = None
    for order in new_orders(GrowingFile(directory.orders)):
        match order:
            case Submitted(engine, job, shape):
                worker = WorkerJob(directory, Job(engine, job, is_workers=True), shape)
            case RunTrial(run) if worker is not None:
                worker._note_given(run)
            case Leave() if worker is not None:
                worker.is_dismissed = True
            case JobOver() if worker is not None:
                worker.is_over = True
    if worker is not None:
        worker.read_reports(now=True)
    return worker


def worker_script(plan: LaunchPlan, worker: WorkerDir) -> str:
    """What the cluster is given for a worker that can run trials like that of *plan*."""
    argv = supervisor_argv(str(worker.root), program=Path(__file__).with_name("worker_main.py"))
    name = f"{plan.spec.name}-{worker.sweep.run_id}-worker{worker.root.name}"
    return script_for(_as_worker(plan), job_name=name, log=str(worker.log), argv=argv)


def shape_of(plan: LaunchPlan) -> str:
    """The same for trials that ask the cluster for the same: all that `script_for` goes by."""
    plan = _as_worker(plan)
    spec = plan.spec
    asked = (plan.cpus, plan.memory_bytes, plan.gpus, spec.cpus, spec.gpus, spec.nodes, spec.grace, spec.cluster)
    return hashlib.sha256(repr(asked).encode()).hexdigest()[:12]


def _as_worker(plan: LaunchPlan) -> LaunchPlan:
    """A worker that was preempted has a successor, which is another job: the sweep's process sees to that."""
    spec = plan.spec
    return replace(plan, spec=replace(spec, cluster=replace(spec.cluster, requeue=False, time=_time(spec))))


def _time(spec: ExperimentSpec) -> float | None:
    """`cluster.time` is `timeout` unless a person sets it: that of one trial."""
    time = spec.cluster.time
    return time if time is None or time != spec.timeout else max(time, SEVERAL_TRIALS_S)
