"""Whether a trial ended, or its worker's job under it."""

from __future__ import annotations

import json
import signal
import time

import pytest

from launcher.cluster.trials.exchange import request
from launcher.cluster.trials.forked_trial import close_trial
from launcher.journal.events import Created, Started, Submitted
from launcher.journal.run_journal import Journal, read_state
from launcher.journal.status import Reason
from launcher.run.supervisor.attempt import Attempt
from launcher.run.supervisor.outcome import ExitOutcome
from runtime.cgroup.limits import Usage
from runtime.state_dir import RunDir

STOPPED = ExitOutcome(143, signal.SIGTERM, Reason.STOPPED)
TIMEOUT = ExitOutcome(124, signal.SIGTERM, Reason.TIMEOUT)
FAILED = ExitOutcome(1, None, Reason.PROGRAM)


@pytest.fixture
def trial(tmp_path):
    run_dir = RunDir(tmp_path)
    run_dir.spec.write_text(json.dumps({"timeout": None}))
    journal = Journal(run_dir.journal)
    journal.append(Created("abc123"))
    journal.append(Submitted("slurm", "17", worker=True))
    return run_dir


def word(trial, outcome, *, is_first=False):
    close_trial(trial, Journal(trial.journal), Attempt(outcome, Usage()), is_first=is_first)
    finished = read_state(trial.journal).finished
    return finished.reason, finished.message


def test_what_somebody_asked_for_is_what_it_is(trial):
    request(trial, signal.SIGTERM)
    assert ("stopped", None) == word(trial, STOPPED)


def test_a_stop_that_nobody_asked_for_came_with_the_jobs_end(trial):
    assert ("preempted", "its worker's job was ended") == word(trial, STOPPED)


def test_the_end_of_the_jobs_time_is_that_of_the_first_trial_which_had_all_of_it(trial):
    assert "timeout" == word(trial, TIMEOUT, is_first=True)[0]


def test_a_later_trial_is_not_to_blame_for_the_time_that_others_had(trial):
    assert "preempted" == word(trial, TIMEOUT)[0]


def test_a_later_trial_that_ran_into_its_own_timeout_did(trial):
    trial.spec.write_text(json.dumps({"timeout": 5.0}))
    Journal(trial.journal).append(Started(), at=time.time() - 6.0)
    assert "timeout" == word(trial, TIMEOUT)[0]


def test_a_program_that_fails_has_failed(trial):
    assert ("program", None) == word(trial, FAILED)
