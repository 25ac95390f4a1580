"""How many worker jobs a sweep has, with an engine that is a dictionary."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import pytest
from line_engine import Line

from launcher.cluster.engine import JobEnd
from launcher.cluster.trials.exchange import Began, worker_dirs
from launcher.cluster.trials.worker_pool import WorkerPool, dismiss_workers
from launcher.errors import LaunchError
from launcher.plan.launch_plan import LaunchPlan
from runtime.state_dir import RunDir

PLAN = cast(LaunchPlan, object())


@pytest.fixture
def line():
    return Line()


@pytest.fixture
def sweep(tmp_path: Path) -> RunDir:
    run_dir = RunDir(tmp_path / "runs/abc123")
    run_dir.root.mkdir(parents=True)
    return run_dir


def pool_of(sweep, line, *, limit=8, told=None):
    return WorkerPool(sweep, line, lambda plan, worker: "", limit=limit, tell=(told if told is not None else []).append)


def begin(pool, job):
    worker = pool.of_job(job)
    worker.directory.report(Began("n1"))
    worker.read_reports(now=True)
    return worker


def test_as_many_jobs_as_there_are_trials_but_no_more_than_the_limit(sweep, line):
    pool = pool_of(sweep, line, limit=6)
    for _ in range(3):
        pool.scale_to(2, PLAN, "a")
    assert 2 == len(line.jobs)
    for _ in range(3):
        pool.scale_to(float("inf"), PLAN, "a")
    assert 6 == len(line.jobs)


def test_few_jobs_are_submitted_at_a_time_so_that_trials_that_run_are_not_kept_waiting(sweep, line):
    assert 4 == len(pool_of(sweep, line, limit=100).scale_to(50, PLAN, "a"))


def test_who_is_too_many_is_cancelled_the_last_first(sweep, line):
    pool = pool_of(sweep, line)
    pool.scale_to(4, PLAN, "a")
    begin(pool, "1").give("run001")
    pool.scale_to(2, PLAN, "a")
    assert ["4", "3"] == line.cancelled


def test_an_idle_worker_stays_for_a_moment_and_then_leaves(sweep, line):
    pool = pool_of(sweep, line)
    pool.scale_to(1, PLAN, "a")
    worker = begin(pool, "1")
    pool.scale_to(0, None, None)
    assert worker.is_idle
    pool.idle_s = 0.0
    pool.scale_to(0, None, None)
    assert worker.is_dismissed


def test_a_trial_that_asks_for_something_else_gets_the_place_of_a_worker_that_cannot_run_it(sweep, line):
    pool = pool_of(sweep, line, limit=1)
    pool.scale_to(1, PLAN, "one gpu")
    pool.scale_to(1, PLAN, "two gpus")
    assert ["1"] == line.cancelled
    assert ["two gpus"] == [worker.shape for worker in pool.scale_to(1, PLAN, "two gpus")]


def test_a_worker_whose_job_was_lost_has_a_successor(sweep, line):
    pool = pool_of(sweep, line)
    pool.scale_to(1, PLAN, "a")
    begin(pool, "1")
    line.end("1", JobEnd.NODE_FAILED)
    assert ["1"] == [worker.job.job for worker, _ in pool.poll(at_once=True)]
    pool.scale_to(1, PLAN, "a")
    assert ["2"] == [worker.job.job for worker in pool]


def test_jobs_that_end_before_they_begin_end_the_sweep_with_their_last_words(sweep, line):
    pool = pool_of(sweep, line)
    pool.scale_to(3, PLAN, "a")
    for worker in pool:
        worker.directory.log.write_text("/usr/bin/python: not found\n")
        line.end(worker.job.job, JobEnd.FAILED)
    with pytest.raises(LaunchError, match="3 worker jobs in a row ended before they began") as refused:
        pool.poll(at_once=True)
    assert "it said: /usr/bin/python: not found" == refused.value.hint


def test_what_ended_before_it_began_does_not_keep_a_sweep_from_going_on(sweep, line):
    before = pool_of(sweep, line)
    before.scale_to(3, PLAN, "a")
    for worker in before:
        line.end(worker.job.job, JobEnd.FAILED)
    with pytest.raises(LaunchError):
        before.poll(at_once=True)
    after = pool_of(sweep, line)
    assert [] == list(after)
    assert ["4"] == [worker.job.job for worker in after.scale_to(1, PLAN, "a")]


def test_jobs_that_were_cancelled_while_nobody_looked_are_not_counted(sweep, line):
    pool_of(sweep, line).scale_to(3, PLAN, "a")
    after = pool_of(sweep, line)
    for worker in after:
        line.end(worker.job.job, JobEnd.CANCELLED)
    assert 3 == len(after.poll(at_once=True))


def test_a_worker_is_told_to_leave_before_its_job_is_cancelled(sweep, line, monkeypatch):
    pool = pool_of(sweep, line)
    pool.scale_to(1, PLAN, "a")
    told: list[bool] = []
    monkeypatch.setattr(line, "cancel", lambda *jobs: told.extend(pool.of_job(job).is_dismissed for job in jobs))
    pool.dismiss()
    assert [True] == told


def test_a_refused_job_is_no_end_while_other_workers_are_there(sweep, line):
    told: list[str] = []
    pool = pool_of(sweep, line, told=told)
    pool.scale_to(1, PLAN, "a")
    line.refuses = True
    assert [] == pool.scale_to(3, PLAN, "a")
    assert ["no more worker jobs for now: too many jobs"] == told


def test_a_refused_job_is_the_end_when_there_is_no_worker(sweep, line):
    line.refuses = True
    with pytest.raises(LaunchError, match="too many jobs"):
        pool_of(sweep, line).scale_to(1, PLAN, "a")


def test_the_workers_of_a_sweep_that_was_killed_are_found_again(sweep, line):
    before = pool_of(sweep, line)
    before.scale_to(2, PLAN, "a")
    begin(before, "1").give("run001")
    after = pool_of(sweep, line)
    assert [("1", "run001"), ("2", None)] == [(worker.job.job, worker.current) for worker in after]
    after.scale_to(3, PLAN, "a")
    assert ["1", "2", "3"] == [worker.directory.root.name for worker in after]


def test_what_waits_and_why_is_known_after_the_engine_was_asked(sweep, line):
    pool = pool_of(sweep, line)
    pool.scale_to(2, PLAN, "a")
    pool.poll(at_once=True)
    assert "2 worker jobs pending at line (Resources)" == pool.waits_for


def test_an_engine_that_is_silent_for_a_moment_ends_no_sweep(sweep, line):
    """Nobody stays who could run a trial, one is pending who shall not, and nothing of that can be said to the engine."""
    told: list[str] = []
    pool = pool_of(sweep, line, told=told)
    pool.scale_to(2, PLAN, "a")
    line.refuses = True
    pool.dismiss()
    assert [True, True] == [worker.is_dismissed for worker in pool]
    assert [] == pool.scale_to(2, PLAN, "a")
    assert ["worker jobs cannot be taken out of the queue: too many jobs", "no more worker jobs for now: too many jobs"] == told


def test_who_was_is_dismissed_while_the_engine_was_silent_is_taken_out_of_the_line_once_it_answers(sweep, line):
    pool = pool_of(sweep, line)
    pool.scale_to(1, PLAN, "a")
    line.refuses = True
    pool.dismiss()
    line.refuses = False
    pool_of(sweep, line).poll(at_once=True)
    assert ["1"] == line.cancelled


def test_a_kind_of_job_that_was_never_accepted_is_not_waited_for(sweep, line):
    pool = pool_of(sweep, line)
    pool.scale_to(1, PLAN, "one gpu")
    pool.dismiss()
    line.refuses = True
    with pytest.raises(LaunchError, match="too many jobs"):
        pool.scale_to(1, PLAN, "a thousand gpus")


def test_refusals_are_told_of_once_until_a_job_is_accepted_and_leave_nothing(sweep, line):
    told: list[str] = []
    pool = pool_of(sweep, line, told=told)
    pool.again_s = 0.0
    pool.scale_to(1, PLAN, "a")
    for refuses in (True, True, False, True):
        line.refuses = refuses
        pool.scale_to(len(line.jobs) + 1, PLAN, "a")
    assert 2 * ["no more worker jobs for now: too many jobs"] == told
    assert len(line.jobs) == len(worker_dirs(sweep))


def test_the_one_that_was_busy_last_is_asked_first_so_that_others_come_to_leave(sweep, line):
    pool = pool_of(sweep, line)
    pool.scale_to(2, PLAN, "a")
    for job in ("2", "1"):
        begin(pool, job)
    assert ["1", "2"] == [worker.job.job for worker in pool.idle("a")]


def test_workers_of_a_sweep_whose_process_was_killed_leave_the_queue(sweep, line):
    pool = pool_of(sweep, line)
    pool.scale_to(2, PLAN, "a")
    begin(pool, "1")
    dismiss_workers(sweep, engine_named=lambda _name: line)
    assert ["2"] == line.cancelled
    assert [True, True] == [worker.is_dismissed for worker in pool_of(sweep, line)]
