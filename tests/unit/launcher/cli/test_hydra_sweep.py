"""The jobs of a Hydra program, batch by batch."""

from __future__ import annotations

import os
import signal
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from journal_lines import read_lines, write_event
from sample_plan import DIGEST, PLAN

from launcher.cli.hydra_program import JobRequest, JobSettings
from launcher.cli.hydra_sweep import HydraSweep
from launcher.journal.run_journal import Journal
from launcher.journal.status import Reason
from launcher.run.start.create_run import new_run_dir
from launcher.run.supervisor.signal_inbox import SignalInbox
from launcher.sweep.capacity import Offer
from launcher.sweep.local_place import LocalPlace
from launcher.sweep.other_sweeps import OtherSweeps
from launcher.sweep.parent import SweepParent
from launcher.sweep.place import Outcome
from launcher.sweep.room import Room
from launcher.sweep.running import RunningTrial
from launcher.sweep.search.study import Suggestion
from launcher.sweep.trial import Trial
from launcher.sweep.trial_log import TrialLog
from launcher.tracking.record.run_record import fold
from runtime.state_dir import StateDir

COMPLETED, STOPPED, LOST = Reason.COMPLETED, Reason.STOPPED, Reason.LOST
JOB = JobRequest(("lr=0.1",), (), {})
SETTINGS = JobSettings(("experiment=jobs",), {"file": "train.py"}, "python3", "{}", None, None, ())


class EndsThemAtOnce(LocalPlace):
    """Jobs end here for these *reasons*, one after the other."""

    def __init__(self, room: Room, reasons: Sequence[Reason]) -> None:
        super().__init__(room, cast(Any, None))
        self._reasons = list(reasons)
        self._started: list[RunningTrial] = []

    @property
    def running(self) -> list[RunningTrial]:
        return self._started

    def start(self, running: RunningTrial, lock_fd: int) -> None:
        os.close(lock_fd)
        reason = self._reasons.pop(0)
        if reason is COMPLETED:
            (running.run_dir.outputs / "hydra_job.json").write_text('{"status": "completed", "value": 1}')
        write_event(running.run_dir.journal, "finished", reason=str(reason), exit_code=0 if reason is COMPLETED else 143)
        self._started.append(running)

    def wait(self, timeout_ms: int) -> list[Outcome]:
        over = [(running, record) for running in self._started if (record := fold(running.run_dir)) is not None]
        self._started = []
        return over


class Jobs(HydraSweep):
    def _plan_trial(self, asked: Suggestion) -> Trial:
        return Trial(asked.number, asked.overrides, PLAN, DIGEST)


def jobs(directory: Path, *reasons: Reason, requests: Sequence[signal.Signals] = ()) -> Jobs:
    """A program whose jobs end for these *reasons*, and who asks it for what meanwhile."""
    state = StateDir(directory).ensure()
    parent = new_run_dir(state)
    place = EndsThemAtOnce(Room(Offer(8, 1 << 40, 0), OtherSweeps(state, parent), parallel=None, ends_matter=True), reasons)
    left = [list(requests)]
    inbox = cast(SignalInbox, SimpleNamespace(fd=os.open(os.devnull, os.O_RDONLY), read=lambda: left.pop() if left else []))
    return Jobs(
        SETTINGS,
        cast(Any, SimpleNamespace(state=state)),
        SweepParent(parent, Journal(parent.journal)),
        place,
        TrialLog(parent.trials),
        inbox,
    )


def statuses(answer: dict[str, Any]) -> list[str]:
    return [job["status"] for job in answer["jobs"]]


def test_batches_leave_nothing_open(tmp_path: Path) -> None:
    """An Optuna sweeper asks for a hundred of them, and a user has 128 instances of inotify."""
    sweep = jobs(tmp_path, *[COMPLETED] * 3)
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(3):
        assert ["completed"] == statuses(sweep.run([JOB]))
    assert before == len(os.listdir("/proc/self/fd"))


def test_a_job_that_somebody_stops_has_failed_and_the_program_goes_on(tmp_path: Path) -> None:
    sweep = jobs(tmp_path, STOPPED, COMPLETED, COMPLETED)
    answer = sweep.run([JOB, JOB])
    assert ["failed", "completed"] == statuses(answer)
    assert "the job failed (stopped, exit code 143)" == answer["jobs"][0]["message"]
    assert ["completed"] == statuses(sweep.run([JOB]))
    assert STOPPED is sweep.reason


def test_ctrl_c_ends_the_program_even_where_all_jobs_of_the_batch_have_begun(tmp_path: Path) -> None:
    """An Optuna sweeper with `n_jobs: 1` would go on with the next one, and Ctrl-C would have done nothing."""
    sweep = jobs(tmp_path, COMPLETED, requests=[signal.SIGINT])
    assert {"interrupted": True} == sweep.run([JOB])
    assert Reason.INTERRUPTED is sweep.reason


def test_ctrl_c_between_two_batches_is_why_the_sweep_ended(tmp_path: Path) -> None:
    """The program, which hears it as well, ends; nobody asks for another batch."""
    sweep = jobs(tmp_path, requests=[signal.SIGINT])
    sweep.close()
    assert ["interrupted"] == [event.get("reason") for event in read_lines(sweep.parent.run_dir.journal)]


def test_a_job_that_is_tried_again_has_one_result(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sweep = jobs(tmp_path, LOST, COMPLETED)
    assert ["completed"] == statuses(sweep.run([JOB]))
    assert COMPLETED is sweep.reason
    said = capsys.readouterr().err.splitlines()
    assert [True, True] == [line.startswith("trial 1/1  lr=0.1") for line in said]
    assert [True, False] == [line.endswith(", tried again") for line in said]
