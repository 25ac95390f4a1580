"""A sweep's trials in the hands of worker jobs, with an engine that is a dictionary and workers that are two files."""

from __future__ import annotations

import os
import signal
import time

import pytest
from line_engine import Line
from sample_plan import DIGEST, PLAN, SPEC

from launcher.cluster.engine import JobEnd
from launcher.cluster.trials.exchange import Began, JobOver, Left, TrialFree, TrialOver, WorkerDir, worker_dirs
from launcher.cluster.trials.slots import ClusterSlots
from launcher.config.spec import Cluster
from launcher.errors import LaunchError
from launcher.journal.events import Created, Finished, Queued
from launcher.journal.run_journal import Journal, read_state
from launcher.run.start.create_run import new_run_dir
from launcher.sweep.running import RunningTrial
from launcher.sweep.trial import Trial
from runtime.file_lock import open_locked
from runtime.light_dataclasses import dataclass, field, replace
from runtime.state_dir import RunDir, StateDir

TRIAL = Trial(1, ("params.lr=0.1",), replace(PLAN, spec=replace(SPEC, cluster=Cluster(kind="slurm"))), DIGEST)


@dataclass
class Bed:
    """A sweep whose process may be begun again."""

    state: StateDir
    sweep: RunDir
    line: Line = field(default_factory=Line)
    told: list[str] = field(default_factory=list)

    def slots(self) -> ClusterSlots:
        made = ClusterSlots(self.sweep, self.line, limit=1, ends_matter=False, tell=self.told.append, send=lambda _run_dir: None)
        made.last_word_within_s = -1.0  # nobody writes one here
        return made

    def worker(self) -> WorkerDir:
        return worker_dirs(self.sweep)[-1]

    def begun(self, slots: ClusterSlots, *, until: float | None = None) -> None:
        """Have a worker that waits for trials."""
        assert not slots.admits(TRIAL)
        slots.announce_demand(1)
        self.worker().report(Began("n1", until))
        slots.wait(0)

    def running(self) -> RunningTrial:
        run_dir = new_run_dir(self.state)
        Journal(run_dir.journal).append(Created(run_dir.run_id, "digits"))
        return RunningTrial(TRIAL, run_dir)

    def started(self, slots: ClusterSlots) -> RunningTrial:
        """A trial that the worker has been given."""
        assert slots.admits(TRIAL)
        running = self.running()
        slots.start(running, open_locked(running.run_dir.supervisor_lock))
        return running

    def free(self, slots: ClusterSlots, running: RunningTrial) -> None:
        self.worker().report(TrialFree(running.run_dir.run_id))
        slots.wait(0)


@pytest.fixture
def bed(tmp_path):
    state = StateDir(tmp_path).ensure()
    return Bed(state, new_run_dir(state))


def reasons(slots):
    """Why those trials ended that are over by now."""
    return [record.reason for _ in range(3) for _, record in slots.wait(0)]


@pytest.mark.parametrize("who", ["its supervisor", "its worker, which an earlier process has seen end"])
def test_a_trial_is_lost_of_which_somebody_ended_without_a_last_word_while_no_sweep_ran(bed, who):
    slots = bed.slots()
    bed.begun(slots)
    running = bed.started(slots)
    if who == "its supervisor":
        for report in (TrialFree, TrialOver):
            bed.worker().report(report(running.run_dir.run_id))
    else:
        bed.worker().order(JobOver())
    again = bed.slots()
    assert again.adopt(running) is None
    assert ["lost"] == reasons(again)


def test_a_trial_that_a_job_took_down_while_no_sweep_ran_is_tried_again(bed):
    slots = bed.slots()
    bed.begun(slots)
    running = bed.started(slots)
    bed.line.end("1", JobEnd.CANCELLED)
    Journal(running.run_dir.journal).append(Finished("stopped", 143))
    over = bed.slots().adopt(running)
    assert over is not None
    assert "preempted" == over[1].reason


def test_a_trial_that_was_admitted_starts_though_its_workers_time_runs_out_meanwhile(bed, monkeypatch):
    slots = bed.slots()
    bed.begun(slots, until=1000.0)
    monkeypatch.setattr(time, "time", lambda: 10.0)
    bed.free(slots, bed.started(slots))
    assert slots.admits(TRIAL)
    monkeypatch.setattr(time, "time", lambda: 990.0)
    running = bed.running()
    assert "n1" == slots.node_for(TRIAL)
    slots.start(running, open_locked(running.run_dir.supervisor_lock))
    assert [running.run_dir.run_id] == [each.run_dir.run_id for each in slots.running][1:]


def test_a_trial_that_a_leaving_worker_did_not_begin_counts_as_preempted(bed):
    slots = bed.slots()
    bed.begun(slots)
    running = bed.started(slots)
    bed.worker().report(Left("no trial for 30 s"))
    bed.line.end("1", JobEnd.COMPLETED)
    assert ["preempted"] == reasons(slots)
    assert "its worker left before it began: no trial for 30 s" == read_state(running.run_dir.journal).finished.message


def test_one_that_was_asked_to_stop_meanwhile_is_stopped(bed):
    slots = bed.slots()
    bed.begun(slots)
    bed.started(slots)
    slots.signal(signal.SIGTERM)
    bed.worker().report(Left("no trial for 30 s"))
    bed.line.end("1", JobEnd.COMPLETED)
    assert ["stopped"] == reasons(slots)


def test_a_trial_that_runs_on_this_machine_since_before_is_not_taken_for_one_that_has_ended(bed):
    running = bed.running()
    running.run_dir.plan.write_text("{}")
    Journal(running.run_dir.journal).append(Queued())
    lock_fd = open_locked(running.run_dir.supervisor_lock)
    with pytest.raises(LaunchError, match=f"trial 1 still runs on this machine, as run `{running.run_dir.run_id}`"):
        bed.slots().adopt(running)
    os.close(lock_fd)
