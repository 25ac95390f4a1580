"""The worker jobs of a sweep together: as many as there is work for, no more than are wanted side by side.

The cluster places them; here is only decided how many stand in its queue. Each is a job of its own and no task of an array: one
that was lost is replaced alone, and every engine has jobs.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence

from launcher.cluster.engine import Engine, JobEnd, JobPhase, JobStatus, PollPace
from launcher.cluster.submission import engine_named
from launcher.cluster.trials.exchange import WorkerDir, new_worker_dir, worker_dirs
from launcher.cluster.trials.worker_job import WorkerJob, add_worker, read_worker
from launcher.errors import LaunchError
from launcher.plan.launch_plan import LaunchPlan
from runtime.plurals import counted
from runtime.state_dir import RunDir, StateDir

Script = Callable[[LaunchPlan, WorkerDir], str]
"""What the cluster is given for a worker that can run trials like this one."""

_AT_ONCE = 4
"""Jobs that are submitted before the trials that run are looked at again."""

_NEVER_BEGAN = 3
"""So many workers in a row that ended before they began: another one would end so, too."""

_NO_MORE = "no more worker jobs for now"
_NOT_CANCELLED = "worker jobs cannot be taken out of the queue"
_NOT_KNOWN = "how the worker jobs stand is not known"


class WorkerPool:
    """*limit*: workers side by side, pending ones included."""

    idle_s = 2.0
    """A worker for which there is no trial keeps its GPU for so long: one that failed may be tried again."""
    again_s = 10.0
    """How long nothing is submitted after the cluster has refused a job, as it does when a user has too many."""

    def __init__(self, sweep: RunDir, engine: Engine, script: Script, *, limit: int, tell: Callable[[str], None]) -> None:
        self._sweep = sweep
        self._engine = engine
        self._script = script
        self._limit = limit
        self._tell = tell
        directories = worker_dirs(sweep)
        self._number = max((int(each.root.name) for each in directories), default=0)
        self._workers = {worker.job.job: worker for worker in map(read_worker, directories) if worker is not None}
        self._pace = PollPace()
        self._pace.make_due()
        self._never_began = 0
        """Of those that this process has submitted: what an earlier one met may have been mended since."""
        self._submitted: set[str] = set()
        self._accepted: set[str] = set()
        """Shapes of the jobs among them."""
        self._failing: set[str] = set()
        """What the engine, asked last for it, didn't do."""
        self._refused_until = 0.0
        self._reasons: dict[str, str] = {}
        """Pending job → why it has not begun, when the engine was asked last."""

    def __iter__(self) -> Iterator[WorkerJob]:
        """Those whose job is not over, as far as is known."""
        return iter([worker for worker in self._workers.values() if not worker.is_over])

    def of_job(self, job: str) -> WorkerJob | None:
        return self._workers.get(job)

    @property
    def waits_for(self) -> str | None:
        """`4 worker jobs pending at slurm (Resources)`; None when none is, or nothing is known of them yet."""
        pending = [worker.job.job for worker in self if worker.is_pending]
        reasons = [self._reasons[job] for job in pending if job in self._reasons]
        return _describe_pending(self._engine.name, len(pending), reasons) if reasons else None

    def idle(self, shape: str) -> list[WorkerJob]:
        """Those that could run a trial of *shape* now. Who was busy last comes first: others shall have been idle long enough to
        leave, when there are more workers than trials."""
        found = (each for each in self if each.is_idle and each.shape == shape)
        return sorted(found, key=lambda each: each.since, reverse=True)

    def scale_to(self, needed: float, plan: LaunchPlan | None, shape: str | None) -> list[WorkerJob]:
        """Have *needed* workers, as far as the limit goes. New ones, which are given back, are for trials like that of *plan*,
        which is of *shape*."""
        needed = min(needed, self._limit)
        staying = [worker for worker in self if worker.is_staying]
        others = [worker for worker in staying if worker.shape != shape]
        if len(staying) > needed:
            self._release(staying, len(staying) - int(needed), idle_s=self.idle_s)
        elif plan is not None and shape is not None and len(staying) < needed:
            missing = min(int(needed) - len(staying), _AT_ONCE)
            return [worker for _ in range(missing) if (worker := self._submit(plan, shape)) is not None]
        elif plan is not None and len(others) == len(staying):
            self._release(others, 1, idle_s=0.0)
        return []

    def poll(self, *, at_once: bool = False) -> list[tuple[WorkerJob, JobStatus]]:
        """Ask the engine when it is time to. Returns the workers whose job is over by now, and how it ended."""
        asked = list(self)
        if at_once:
            self._pace.make_due()
        if not asked or not self._pace.is_due():
            return []
        self._pace.note_poll()
        statuses = self._ask([worker.job.job for worker in asked])
        if not statuses:
            return []
        self._reasons = {job: status.why for job, status in statuses.items() if status.phase is JobPhase.PENDING and status.why}
        self._cancel_dismissed([each for each in asked if each.is_dismissed and statuses[each.job.job].phase is JobPhase.PENDING])
        over = [worker for worker in asked if statuses[worker.job.job].is_over]
        for worker in over:
            worker.read_reports(now=True)
            worker.close()
        for worker in over:
            self._count_failures(worker, statuses[worker.job.job])
        return [(worker, statuses[worker.job.job]) for worker in over]

    def dismiss(self) -> None:
        """Cancel those that are pending; the others leave, each after the trial that it has."""
        self._dismiss([worker for worker in self if worker.is_staying])

    def _submit(self, plan: LaunchPlan, shape: str) -> WorkerJob | None:
        """None when the engine refuses for now. Raises LaunchError when it has taken none of *shape* so far, and there is no
        worker to run trials meanwhile."""
        if time.monotonic() < self._refused_until:
            return None
        self._number += 1
        directory = new_worker_dir(self._sweep, self._number)
        try:
            job = self._engine.submit(self._script(plan, directory))
        except LaunchError as refused:
            directory.remove()
            if shape not in self._accepted and not any(worker.is_staying for worker in self):
                raise
            self._refused_until = time.monotonic() + self.again_s
            self._tell_once(_NO_MORE, refused)
            return None
        self._workers[job] = add_worker(directory, self._engine.name, job, shape)
        self._submitted.add(job)
        self._accepted.add(shape)
        self._failing.discard(_NO_MORE)
        self._pace.restart()
        return self._workers[job]

    def _release(self, workers: Sequence[WorkerJob], number: int, *, idle_s: float) -> None:
        """Of *workers* the last in the queue, then those that have had nothing to do for *idle_s*."""
        pending = [worker for worker in reversed(workers) if not worker.has_begun]
        idle = [worker for worker in workers if worker.is_idle and worker.idle_s() >= idle_s]
        self._dismiss([*pending, *idle][:number])

    def _dismiss(self, workers: Sequence[WorkerJob]) -> None:
        try:
            _scale_down(workers, self._engine)
        except LaunchError as silent:
            self._tell_once(_NOT_CANCELLED, silent)

    def _cancel_dismissed(self, workers: Sequence[WorkerJob]) -> None:
        """They are in the queue although they were dismissed: the engine didn't answer."""
        if not workers:
            self._failing.discard(_NOT_CANCELLED)
            return
        try:
            self._engine.cancel(*(worker.job.job for worker in workers))
        except LaunchError as silent:
            self._tell_once(_NOT_CANCELLED, silent)

    def _ask(self, jobs: Sequence[str]) -> Mapping[str, JobStatus]:
        """Nothing when the engine doesn't answer: it is asked again."""
        try:
            statuses = self._engine.poll(jobs)
        except LaunchError as silent:
            self._tell_once(_NOT_KNOWN, silent)
            return {}
        self._failing.discard(_NOT_KNOWN)
        return statuses

    def _tell_once(self, what: str, error: LaunchError) -> None:
        """Until it succeeds again."""
        if what not in self._failing:
            self._tell(f"{what}: {error.message}")
        self._failing.add(what)

    def _count_failures(self, worker: WorkerJob, status: JobStatus) -> None:
        """Raises LaunchError when workers end before they begin."""
        if worker.job.job not in self._submitted:
            return
        if worker.has_begun:
            self._never_began = 0
        elif not worker.is_dismissed and status.end not in (JobEnd.PREEMPTED, JobEnd.NODE_FAILED):
            self._never_began += 1
        if self._never_began < _NEVER_BEGAN:
            return
        ended = status.end or JobEnd.UNKNOWN
        code = f", exit code {status.exit_code}" if status.exit_code else ""
        raise LaunchError(
            f"{self._never_began} worker jobs in a row ended before they began: {worker.job} ({ended}{code})",
            hint=_last_output(worker) or f"`launch doctor` on a node says what it lacks; job output: `{worker.directory.log}`",
        )


def _last_output(worker: WorkerJob) -> str | None:
    try:
        lines = worker.directory.log.read_text(errors="replace").split("\n")
    except OSError:
        return None
    return next((f"it said: {line.strip()}" for line in reversed(lines) if line.strip()), None)


def _scale_down(workers: Sequence[WorkerJob], engine: Engine) -> None:
    """Dismiss *workers*. Raises LaunchError when the engine doesn't answer; then a job that begins all the same leaves."""
    for worker in workers:
        worker.dismiss()
    pending = [worker.job.job for worker in workers if not worker.has_begun]
    if pending:
        engine.cancel(*pending)


def dismiss_workers(sweep: RunDir, *, engine_named: Callable[[str], Engine] = engine_named) -> None:
    """For a sweep whose process was killed: its trials are not needed any more."""
    workers = [worker for worker in map(read_worker, worker_dirs(sweep)) if worker is not None and worker.is_staying]
    for name in sorted({worker.job.engine for worker in workers}):
        _scale_down([worker for worker in workers if worker.job.engine == name], engine_named(name))


def pending_workers(state: StateDir) -> dict[str, str]:
    """Of the sweeps that run, for whoever looks at them: sweep → `10 worker jobs pending at slurm (Resources)`, where any are."""
    sweeps = [run_dir for run_dir in state.active.runs() if run_dir.workers.is_dir()]
    return {sweep.run_id: text for sweep in sweeps if (text := _pending_of(sweep)) is not None}


def _pending_of(sweep: RunDir) -> str | None:
    workers = [worker for worker in map(read_worker, worker_dirs(sweep)) if worker is not None and worker.is_pending]
    if not workers:
        return None
    engine = workers[0].job.engine
    statuses = engine_named(engine).poll([worker.job.job for worker in workers]).values()
    reasons = [status.why for status in statuses if status.phase is JobPhase.PENDING]
    return _describe_pending(engine, len(reasons), [why for why in reasons if why]) if reasons else None


def _describe_pending(engine: str, number: int, reasons: Sequence[str]) -> str:
    why = f" ({', '.join(sorted(set(reasons)))})" if reasons else ""
    return f"{counted(number, 'worker job')} pending at {engine}{why}"
