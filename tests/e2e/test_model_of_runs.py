"""Runs are begun, ended, stopped, killed, orphaned, adopted and resumed in any order: each is always what a small model says.

Bounded in the ordinary suite. LAUNCH_TESTS_LONG=1: a hundred walks of forty steps, which takes an hour.
"""

from __future__ import annotations

import os
import signal
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from crash_rounds import SETTLED_WITHIN_S, make_project
from going_run import Going
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, multiple, rule, run_state_machine_as_test
from launch_command import Launch
from mlflow_comparison import untruths_of_mlflow
from server_peer import Server
from waiting import eventually

from launcher.tracking.record.run_record import fold
from runtime.kernel.process_identity import process_started
from runtime.state_dir import RunDir, StateDir

pytestmark = pytest.mark.requires("overlayfs", "userns")

WALKS, STEPS = (100, 40) if os.environ.get("LAUNCH_TESTS_LONG") else (2, 12)

PROGRAM = """\
import os, pathlib, sys, time
outputs = pathlib.Path(os.environ["LAUNCH_OUTPUTS"])
(outputs / f"attempt-{os.environ['LAUNCH_ATTEMPT']}").touch()
end = outputs / "end"
while not end.exists():
    time.sleep(0.02)
sys.exit(int(end.read_text()))
"""


@dataclass
class Modelled:
    """A run, and what it should be."""

    going: Going
    attempt: int = 1
    ending: tuple[str, str, int] | None = None
    """Status, reason and exit code, when its program has ended; None: it runs."""
    is_tended: bool = True
    """Whether it has a supervisor. One that has none gets one, and its end, from the next command that looks."""

    @property
    def run_dir(self) -> RunDir:
        return RunDir(self.going.run_dir)

    @property
    def is_over(self) -> bool:
        """For everybody to see."""
        return self.ending is not None and self.is_tended


class Runs(RuleBasedStateMachine):
    """Every command is typed; who is killed is killed with SIGKILL."""

    launch: Launch
    runs = Bundle("runs")

    def __init__(self) -> None:
        super().__init__()
        self.known: list[Modelled] = []

    @rule(target=runs, tracked=st.booleans())
    def begin(self, tracked: bool) -> Any:
        if sum(run.ending is None for run in self.known) >= 3:
            return multiple()
        words = () if tracked else ("tracking=none",)
        run = Modelled(Going(self.launch, *words, begun="outputs/attempt-1"))
        self.known.append(run)
        self._everybody_is_looked_at()
        return run

    @rule(run=runs, code=st.sampled_from([0, 0, 3]))
    def end(self, run: Modelled, code: int) -> None:
        """Its program ends by itself."""
        if run.ending is None:
            file = run.run_dir.outputs / "end"
            file.with_name("next").write_text(str(code))
            file.with_name("next").rename(file)
            run.ending = ("FAILED", "program", code) if code else ("FINISHED", "completed", 0)
            eventually(run.run_dir.exit_record.exists)

    @rule(run=runs)
    def stop(self, run: Modelled) -> None:
        self.launch("stop", run.going.run_id)
        run.is_tended, run.ending = True, run.ending or ("KILLED", "stopped", 143)

    @rule(run=runs)
    def kill(self, run: Modelled) -> None:
        self.launch("kill", run.going.run_id)
        run.is_tended, run.ending = True, run.ending or ("KILLED", "stopped", 137)

    @rule(run=runs)
    def kill_supervisor(self, run: Modelled) -> None:
        if run.ending is None and run.is_tended:
            run.going.kill_followers()
            run.is_tended = False

    @rule(run=runs)
    def kill_container(self, run: Modelled) -> None:
        if run.ending is None:
            init = run.going.init
            os.kill(init, signal.SIGKILL)
            eventually(lambda: process_started(init) is None)
            run.ending = ("KILLED", "lost", 125)

    @rule()
    def look(self) -> None:
        self.launch("ps")
        self._everybody_is_looked_at()

    @rule(run=runs)
    def wait(self, run: Modelled) -> None:
        if run.ending is not None:
            self.launch("wait", run.going.run_id, check=run.ending[2])
            run.is_tended = True

    @rule(run=runs)
    def resume(self, run: Modelled) -> None:
        (run.run_dir.outputs / "end").unlink(missing_ok=True) if run.ending is not None else None
        self._everybody_is_looked_at()
        if run.ending is None or run.ending[1] == "completed":
            words = "has not ended" if run.ending is None else "is complete"
            assert words in self.launch("resume", run.going.run_id, check=2).stderr
            return
        self.launch("resume", "-d", run.going.run_id)
        run.attempt, run.ending = run.attempt + 1, None
        eventually((run.run_dir.outputs / f"attempt-{run.attempt}").exists)

    @invariant()
    def every_run_is_what_it_should_be(self) -> None:
        for run in self.known:
            eventually(lambda run=run: self._is_as_modelled(run), lambda run=run: f"{run} is {fold(run.run_dir)}")

    def _is_as_modelled(self, run: Modelled) -> bool:
        record = fold(run.run_dir)
        assert record is not None
        if run.is_over:
            return (record.status.value, record.reason, record.exit_code, record.attempt) == (*run.ending, run.attempt)  # type: ignore[misc]
        if run.ending is None:
            return (record.status.value, record.exit_code, record.attempt) == ("RUNNING", None, run.attempt)
        return record.exit_code is None

    def _everybody_is_looked_at(self) -> None:
        for run in self.known:
            run.is_tended = True

    def teardown(self) -> None:
        for run in self.known:
            if run.ending is None or not run.is_tended:
                self.launch("kill", run.going.run_id)
        ids, state = [run.going.run_id for run in self.known], StateDir(self.launch.home)
        self.launch("ps")
        look = lambda: untruths_of_mlflow(state, ids)  # noqa: E731
        eventually(lambda: not look(), look, within_s=SETTLED_WITHIN_S, every_s=0.2)


def test_runs_are_what_the_model_says_whatever_is_done_to_them(session_home: Path, tmp_path: Path, recorded: Server) -> None:
    project = make_project(tmp_path / "project")
    (project / "experiments/crash/crash.py").write_text(PROGRAM)
    Runs.launch = Launch(session_home, project)
    # Without shrinking: a step takes a second, and the steps of a failure are printed as they are.
    bounds = settings(
        max_examples=WALKS,
        stateful_step_count=STEPS,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    run_state_machine_as_test(Runs, settings=bounds)
