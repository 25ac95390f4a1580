"""The jobs of a Hydra program as trials: composed and built once, each batch run by the engine of sweeps."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from launcher.cli.arguments import Talk
from launcher.cli.command import is_set
from launcher.cli.hydra_program import JobRequest, JobSettings, job_spec, placeholder, read_result, way_to_start, write_task
from launcher.cli.prepare import Prepared, plan_and_build, start_local_server
from launcher.cli.sweep.summary import print_sweep_summary
from launcher.cli.sweep.view import LiveView, PlainView, plain_line, sweep_view
from launcher.cli.sweep.watch import show_news
from launcher.cli.timings import Timings
from launcher.config.compiled import load
from launcher.config.spec import Sweep
from launcher.errors import ConfigError
from launcher.journal.run_journal import Follower
from launcher.journal.status import Reason
from launcher.plan.origins import origin_of
from launcher.plan.refusals import refuse_cluster, refuse_one_port_for_many
from launcher.run.start.fork_server import ForkServer
from launcher.run.supervisor.signal_inbox import SignalInbox
from launcher.sweep.capacity import offer
from launcher.sweep.followed import Ended, FollowedSweep, Started
from launcher.sweep.local_place import LocalPlace
from launcher.sweep.other_sweeps import OtherSweeps
from launcher.sweep.parent import SweepParent, new_parent
from launcher.sweep.results import read_known_results
from launcher.sweep.room import Room
from launcher.sweep.run_sweep import SweepEnd, SweepRunner
from launcher.sweep.search.study import JobStudy, Suggestion
from launcher.sweep.trial import EndedTrial, Trial
from launcher.sweep.trial_log import TrialLog
from launcher.tracking.record.run_record import RunRecord, fold
from runtime.light_dataclasses import dataclass, field
from runtime.state_dir import RunDir, state_dir

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)


@contextmanager
def hydra_sweep(settings: JobSettings) -> Iterator[HydraSweep]:
    """The image built and the parent run open for the body, which runs batches. Raises ConfigError before anything is started."""
    with ForkServer() as supervisors:
        prepared = _prepared(settings)
        spec, inbox = prepared.plan.spec, SignalInbox(_SIGNALS)
        with new_parent(spec, prepared.state, name=settings.name, note=None, command_line=settings.command_line) as parent:
            parent.begin(inbox)
            log = TrialLog(parent.run_dir.trials)
            room = Room(offer(), OtherSweeps(prepared.state, parent.run_dir), parallel=settings.parallel, ends_matter=True)
            sweep = HydraSweep(settings, prepared, parent, LocalPlace(room, supervisors), log, inbox)
            yield sweep
            sweep.close()


def _prepared(settings: JobSettings) -> Prepared:
    state = state_dir().ensure()
    composed = load(
        settings.overrides,
        config_dir=None,
        cwd=Path.cwd(),
        state=state,
        environ=os.environ,
        command=placeholder(settings),
    )
    refuse_one_port_for_many(composed.spec)
    refuse_cluster(composed.spec, lambda key: origin_of(composed.origins, key), "a Hydra program's jobs")
    way_to_start(composed.spec, settings.program)  # a program that no job can start is refused before a build
    start_local_server(composed.spec, state)
    return plan_and_build(composed, state, Timings(), talk=Talk.VERBOSE if is_set("LAUNCH_VERBOSE") else Talk.NORMAL)


@dataclass(slots=True)
class HydraSweep:
    """A program's jobs, batch by batch."""

    settings: JobSettings
    prepared: Prepared
    parent: SweepParent
    place: LocalPlace
    log: TrialLog
    inbox: SignalInbox
    study: JobStudy = field(default_factory=JobStudy)
    jobs: list[JobRequest] = field(default_factory=list)
    ended: list[EndedTrial] = field(default_factory=list)
    reason: Reason = Reason.COMPLETED
    _followed: FollowedSweep = field(init=False)
    _notes: Follower = field(init=False)
    _events: list[Started | Ended] = field(default_factory=list)
    """What has happened so far."""
    _runs: dict[int, RunDir] = field(default_factory=dict)
    """Job → its last try, of those that have ended."""

    def __post_init__(self) -> None:
        self._followed, self._notes = FollowedSweep(self.parent.run_dir), Follower(self.parent.run_dir.journal)

    def run(self, batch: Sequence[JobRequest]) -> dict[str, Any]:
        """The answer to one request: how each job ended, in order."""
        begin = len(self.jobs)
        self.jobs += batch
        if "object" in self.settings.program and way_to_start(self.prepared.plan.spec, self.settings.program)[0] == "object":
            for number, job in enumerate(batch, begin + 1):
                write_task(self.settings, job, self._task_directory(number))
        self.study.add(job.overrides for job in batch)
        is_cut_short = self._run()
        results = [self._result(self._runs[number]) for number in range(begin + 1, len(self.jobs) + 1) if number in self._runs]
        for result in results:
            if "unusable" in result:
                raise _unusable(result["unusable"], self.prepared.plan.spec.name)
        return {"interrupted": True} if is_cut_short else {"jobs": results}

    def close(self) -> None:
        if self.reason is Reason.COMPLETED and signal.SIGINT in self.inbox.read():
            self.reason = Reason.INTERRUPTED  # between two batches; it was the program's to end
        end = SweepEnd(sorted(self.ended, key=lambda trial: trial.number), self.reason, [])
        self.parent.close(end, Sweep(), total=len(self.jobs))
        results = read_known_results(self.parent.run_dir)
        print_sweep_summary(self.parent.run_dir, self.prepared.state, results, fold(self.parent.run_dir))

    def _task_directory(self, number: int) -> Path:
        return self.parent.run_dir.hydra_tasks / str(number)

    def _run(self) -> bool:
        """Whether somebody ended the batch, and with it the program, even where all of its jobs had begun."""
        settings = Sweep(parallel=self.settings.parallel)
        view = sweep_view(self._followed, offer(), quiet=False)
        view.take_over(self._events)
        runner = SweepRunner(
            state=self.prepared.state,
            sweep_id=self.parent.run_id,
            name=self.settings.name,
            command_line=self.settings.command_line,
            study=self.study,
            settings=settings,
            plan_trial=self._plan_trial,
            place=self.place,
            tell=self.parent.message,
            inbox=self.inbox,
            log=self.log,
            after_each_look=lambda: self._show(view),
            ended=self.ended,
        )
        try:
            end = runner.run()
        finally:
            self._show(view)
            view.close()
        if self.reason is Reason.COMPLETED:
            self.reason = runner.cut_short or end.reason
        return runner.cut_short is not None

    def _show(self, view: PlainView | LiveView) -> None:
        """What is new; an image that can run no job ends the batch."""
        events = self._followed.new_events()
        show_news(view, events, self._notes.new_entries())
        self._events += events
        for event in events:
            if isinstance(event, Ended):
                self._runs[event.number] = event.run_dir
                self.study.hopeless = self.study.hopeless or "unusable" in read_result(event.run_dir.outputs)
                if isinstance(view, LiveView):
                    view.message(plain_line(event, self._followed.total))  # the table goes with the batch

    def _plan_trial(self, asked: Suggestion) -> Trial:
        from launcher.plan.planner import with_spec

        job, ready = self.jobs[asked.number - 1], self.prepared
        spec = job_spec(ready.plan.spec, self.settings, job, self._task_directory(asked.number))
        plan = with_spec(ready.plan, spec, overrides=(*ready.plan.overrides, *job.overrides), state=ready.state)
        return Trial(asked.number, asked.overrides, plan, ready.image.digest)

    def _result(self, run_dir: RunDir) -> dict[str, Any]:
        told = {"run_id": run_dir.run_id, "outputs": str(run_dir.outputs)}
        found = read_result(run_dir.outputs)
        record = fold(run_dir)
        if found.get("status") == "completed" and record is not None and record.exit_code == 0:
            return {**found, **told}
        if found.get("status") == "failed" or "unusable" in found:
            return {**found, **told}
        return {"status": "failed", "error": "", "message": _without_a_word(record), **told}


def _unusable(message: str, experiment: str) -> ConfigError:
    hint = f"add it to `image.requirements` of experiment `{experiment}`: hydra-core>=1.3" if "hydra-core" in message else None
    return ConfigError(message, hint=hint)


def _without_a_word(record: RunRecord | None) -> str:
    if record is None or record.exit_code == 0:
        return "the program ended without a result: does it call its `@hydra.main` function?"
    return f"the job failed ({record.reason}, exit code {record.exit_code})"
