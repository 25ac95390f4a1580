"""A worker as its two files tell it."""

from __future__ import annotations

import signal
import time

import pytest

from launcher.cluster.trials.exchange import Requests, ask, is_asked, new_requests, new_worker_dir, worker_dirs, write_line
from launcher.cluster.trials.worker_job import read_worker, submitted_worker
from runtime.state_dir import RunDir


@pytest.fixture
def sweep(tmp_path):
    run_dir = RunDir(tmp_path / "abc123")
    run_dir.root.mkdir()
    return run_dir


@pytest.fixture
def worker(sweep):
    return submitted_worker(new_worker_dir(sweep, 1), "slurm", "17", "a")


def say(worker, event, **fields):
    write_line(worker.directory.said, event, **fields)
    worker.hear(now=True)


def test_it_takes_a_trial_once_it_has_begun_and_the_next_when_that_one_is_free(worker):
    assert not worker.is_idle
    say(worker, "began", node="n1", until=None)
    assert worker.is_idle
    worker.give("run001")
    assert not worker.is_idle
    say(worker, "free", run="run001")
    assert worker.is_idle


def test_one_that_has_left_takes_none(worker):
    say(worker, "began", node="n1", until=None)
    say(worker, "left", why="no trial for 30 s")
    assert (False, False) == (worker.is_idle, worker.is_staying)


def test_its_first_trial_has_whatever_time_there_is_and_the_next_one_must_fit(worker):
    say(worker, "began", node="n1", until=time.time() + 60)
    assert worker.has_time_for(3600)
    worker.give("run001")
    assert worker.has_time_for(30)
    assert not worker.has_time_for(90)


def test_it_is_looked_at_less_often_the_longer_its_trial_runs(worker):
    say(worker, "began", node="n1", until=None)
    worker.give("run001")
    worker.since = time.monotonic() - 6.0
    worker.hear()
    assert 0.25 < worker.next_look_s() <= 0.3


def test_one_in_line_is_looked_at_less_often_the_longer_it_stands_there(worker):
    worker.hear(now=True)
    assert worker.next_look_s() <= 0.05
    worker.since = time.monotonic() - 20.0
    worker.hear(now=True)
    assert 0.9 < worker.next_look_s() <= 1.0
    worker.since = time.monotonic() - 86400.0
    worker.hear(now=True)
    assert 1.9 < worker.next_look_s() <= 2.0


def test_another_process_reads_the_same_worker(worker, sweep):
    say(worker, "began", node="n1", until=5.0)
    worker.give("run001")
    found = read_worker(worker_dirs(sweep)[0])
    assert found is not None
    assert ("17", "a", "n1", 5.0, "run001", 1) == (
        found.job.job,
        found.shape,
        found.node,
        found.until,
        found.current,
        found.given,
    )


def test_a_directory_whose_job_was_never_submitted_is_no_worker(sweep):
    assert read_worker(new_worker_dir(sweep, 1)) is None


def test_requests_are_read_once_and_in_order(sweep):
    new_requests(sweep)
    assert not is_asked(sweep)
    requests = Requests(sweep)
    ask(sweep, signal.SIGUSR1)
    ask(sweep, signal.SIGQUIT)
    assert [signal.SIGUSR1, signal.SIGQUIT] == list(requests.new())
    assert [] == list(requests.new())
    assert is_asked(sweep)


def test_half_a_request_waits_for_its_other_half(sweep):
    path = sweep.root / "requests"
    path.write_text("SIGTE")
    requests = Requests(sweep)
    assert [] == list(requests.new())
    path.write_text("SIGTERM\n")
    assert [signal.SIGTERM] == list(requests.new())
