"""What becomes of a sweep, by how its trials end and what a person asks of it."""

from __future__ import annotations

import signal
from contextlib import AbstractContextManager, nullcontext
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from launcher.config.spec import Sweep
from launcher.config.sweep_dimension import Dimension
from launcher.journal.status import Reason
from launcher.sweep.place import Outcome, Place
from launcher.sweep.run_sweep import SweepRunner
from launcher.sweep.running import RunningTrial
from launcher.sweep.search.samplers import make_search
from launcher.sweep.search.study import Study, Suggestion
from launcher.sweep.trial import Trial
from launcher.sweep.trial_log import TrialLog
from launcher.tracking.record.run_record import RunRecord
from runtime.state_dir import RunDir, StateDir

COMPLETED, PROGRAM, STOPPED, INTERRUPTED = Reason.COMPLETED, Reason.PROGRAM, Reason.STOPPED, Reason.INTERRUPTED
X = Dimension("params.x", choices=tuple(f"params.x={number}" for number in range(3)), values=tuple(range(3)))


class FullPlace:
    """Trials run here, which end for these *reasons*, and there is no room for another one."""

    def __init__(self, trials: list[Trial], reasons: list[Reason]) -> None:
        self.running = [cast(RunningTrial, SimpleNamespace(trial=trial, tail=None)) for trial in trials]
        self._reasons = reasons

    @property
    def number_open(self) -> int:
        return len(self.running)

    def wait(self, _timeout_ms: int) -> list[Outcome]:
        over = [
            (running, RunRecord(RunDir(Path("/none")), f"run{number}", reason.status, datetime.now(UTC), reason=reason))
            for number, (running, reason) in enumerate(zip(self.running, self._reasons, strict=True))
        ]
        self.running = []
        return over

    def admission_lock(self) -> AbstractContextManager[None]:
        return nullcontext()

    def admits(self, _trial: Trial) -> bool:
        return False

    def nothing(self, *_words: Any) -> None:
        return

    wake_on = announce_demand = status_words = why_it_waits = leave_line = signal = nothing


@pytest.mark.parametrize(
    ("reasons", "asked_by", "expected"),
    [
        pytest.param([COMPLETED] * 3, [], COMPLETED, id="all finish"),
        pytest.param([COMPLETED, COMPLETED, PROGRAM], [], PROGRAM, id="one fails"),
        pytest.param([COMPLETED, COMPLETED, STOPPED], [], STOPPED, id="somebody stops one"),
        pytest.param([COMPLETED, PROGRAM, STOPPED], [], PROGRAM, id="one fails, and somebody stops one"),
        pytest.param([COMPLETED, COMPLETED], [signal.SIGINT], INTERRUPTED, id="Ctrl-C before the last begins"),
        pytest.param([COMPLETED] * 3, [signal.SIGINT], COMPLETED, id="Ctrl-C, and all finish"),
        pytest.param([COMPLETED, COMPLETED, PROGRAM], [signal.SIGINT], PROGRAM, id="Ctrl-C, and the last fails"),
        pytest.param([COMPLETED, COMPLETED, INTERRUPTED], [signal.SIGINT] * 2, INTERRUPTED, id="Ctrl-C twice"),
    ],
)
def test_a_sweep_is_completed_when_every_trial_of_it_was_decided_and_none_failed(
    tmp_path: Path, reasons: list[Reason], asked_by: list[signal.Signals], expected: Reason
) -> None:
    settings = Sweep(sampler="grid")
    study = Study(make_search((X,), settings, where=lambda _key: None), (X,), settings)

    def plan_trial(asked: Suggestion) -> Trial:
        return cast(Trial, SimpleNamespace(number=asked.number, overrides=asked.overrides, plan=SimpleNamespace(spec=None)))

    log = TrialLog(tmp_path / "trials.jsonl")
    trials = []
    for _ in reasons:
        asked = study.ask()
        assert asked is not None
        log.asked(asked)
        trials.append(plan_trial(asked))
    place = FullPlace(trials, reasons)
    requests = [asked_by]
    runner = SweepRunner(
        state=StateDir(tmp_path),
        sweep_id="5wee9",
        name=None,
        command_line=(),
        study=study,
        settings=settings,
        plan_trial=plan_trial,
        place=cast(Place, place),
        tell=place.nothing,
        inbox=cast(Any, SimpleNamespace(fd=-1, read=lambda: requests.pop() if requests else [])),
        log=log,
    )
    assert expected is runner.run().reason
