"""A worker as its two files tell it."""

from __future__ import annotations

import signal
import time

import pytest

from launcher.cluster.trials.exchange import (
    Began,
    Left,
    TrialFree,
    has_requests,
    make_requests,
    new_requests,
    new_worker_dir,
    request,
    worker_dirs,
)
from launcher.cluster.trials.worker_job import add_worker, read_worker
from launcher.journal.growing_file import GrowingFile
from runtime.state_dir import RunDir


@pytest.fixture
def sweep(tmp_path):
    run_dir = RunDir(tmp_path / "abc123")
    run_dir.root.mkdir()
    return run_dir


@pytest.fixture
def worker(sweep):
    return add_worker(new_worker_dir(sweep, 1), "slurm", "17", "a")


def report(worker, line):
    worker.directory.report(line)
    worker.read_reports(now=True)


def test_it_takes_a_trial_once_it_has_begun_and_the_next_when_that_one_is_free(worker):
    assert not worker.is_idle
    report(worker, Began("n1"))
    assert worker.is_idle
    worker.give("run001")
    assert not worker.is_idle
    report(worker, TrialFree("run001"))
    assert worker.is_idle


def test_one_that_has_left_takes_none(worker):
    report(worker, Began("n1"))
    report(worker, Left("no trial for 30 s"))
    assert (False, False) == (worker.is_idle, worker.is_staying)


def test_its_first_trial_has_whatever_time_there_is_and_the_next_one_must_fit(worker):
    report(worker, Began("n1", time.time() + 60))
    assert worker.has_time_for(3600)
    worker.give("run001")
    assert worker.has_time_for(30)
    assert not worker.has_time_for(90)


def test_it_is_looked_at_less_often_the_longer_its_trial_runs(worker):
    report(worker, Began("n1"))
    worker.give("run001")
    worker.since = time.monotonic() - 6.0
    worker.read_reports()
    assert 0.25 < worker.next_look_s() <= 0.3


def test_one_that_is_pending_is_looked_at_less_often_the_longer_it_waits(worker):
    worker.read_reports(now=True)
    assert worker.next_look_s() <= 0.05
    worker.since = time.monotonic() - 20.0
    worker.read_reports(now=True)
    assert 0.9 < worker.next_look_s() <= 1.0
    worker.since = time.monotonic() - 86400.0
    worker.read_reports(now=True)
    assert 1.9 < worker.next_look_s() <= 2.0


def test_another_process_reads_the_same_worker(worker, sweep):
    report(worker, Began("n1", 5.0))
    worker.give("run001")
    found = read_worker(worker_dirs(sweep)[0])
    assert found is not None
    assert ("17", "a", "n1", 5.0, "run001", 1) == (
        found.job.job,
        found.shape,
        found.node,
        found.until,
        found.current,
        found.trials_given,
    )


def test_a_directory_whose_job_was_never_submitted_is_no_worker(sweep):
    assert read_worker(new_worker_dir(sweep, 1)) is None


def test_requests_are_read_once_and_in_order(sweep):
    make_requests(sweep)
    assert not has_requests(sweep)
    requests = GrowingFile(sweep.requests)
    request(sweep, signal.SIGUSR1)
    request(sweep, signal.SIGQUIT)
    assert [signal.SIGUSR1, signal.SIGQUIT] == new_requests(requests)
    assert [] == new_requests(requests)
    assert has_requests(sweep)


def test_half_a_request_waits_for_its_other_half(sweep):
    path = sweep.root / "requests"
    path.write_text("SIGTE")
    requests = GrowingFile(path)
    assert [] == new_requests(requests)
    path.write_text("SIGTERM\n")
    assert [signal.SIGTERM] == new_requests(requests)
