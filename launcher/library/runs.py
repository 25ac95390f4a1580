"""Runs and sweeps as values: how they stand, what they reported and left; to wait for, to end, to choose among.

Looking reads the run's directory and changes nothing. Waiting and ending are the commands `launch wait` and `launch stop`, which
also care for a run that lost its supervisor or whose job left no word.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from launcher.errors import ConfigError, RunFailed
from launcher.journal.status import RunStatus
from launcher.library.command import Call, do, hints_shown, lines_of
from launcher.library.notebook import card, live_card
from launcher.run.compare.curve import as_columns, read_curves
from launcher.tracking.record.chosen_runs import choose_runs
from launcher.tracking.record.find_runs import find_run, list_runs
from launcher.tracking.record.run_fields import Value, check, rows
from launcher.tracking.record.run_record import RunRecord, fold
from runtime.state_dir import state_dir

_LOOK_S = 0.5


class Run:
    """One run of LAUNCH_HOME. `launch`, `rerun` and `get_run` give it; every attribute is what is known now."""

    def __init__(self, run_id: str) -> None:
        self.id = run_id
        self._dir = state_dir().run(run_id)

    @property
    def experiment(self) -> str:
        return self.fold().experiment

    @property
    def status(self) -> RunStatus:
        """MLflow's: SCHEDULED, RUNNING, FINISHED, FAILED or KILLED; a `str`."""
        return self.fold().status

    @property
    def exit_code(self) -> int | None:
        """None while it has not ended."""
        return self.fold().exit_code

    @property
    def params(self) -> dict[str, Any]:
        return self.fold().params

    @property
    def metrics(self) -> dict[str, list[float | None]]:
        """What it reported, as columns that `pandas.DataFrame` takes: `step`, and one for each metric, with None where it has no
        value at that step. Of a step that was reported twice, the later value. What launch measured itself (`system/…`) is left
        out, and so is a metric that is called `step`."""
        return as_columns({name: curve for name, curve in read_curves(self._dir).items() if not name.startswith("system/")})

    @property
    def last_metrics(self) -> dict[str, float]:
        """The last value of each metric."""
        return self.fold().metrics

    @property
    def outputs(self) -> Path:
        """The directory of what it left in `$LAUNCH_OUTPUTS`."""
        return self._dir.outputs

    @property
    def mlflow_url(self) -> str | None:
        """Its page in MLflow; None where it is not recorded there."""
        return self.fold().mlflow_url

    @property
    def record(self) -> dict[str, Any]:
        """All that is recorded, under the names of `launch runs show RUN --json`."""
        return self.fold().to_json()

    @hints_shown()
    def wait(self, *, timeout_s: float | None = None, check: bool = True) -> None:
        """Wait until it has ended and its record is sent; in a notebook, show how it goes. Interrupted, it goes on.

        With *check* raises RunFailed unless it finished well. Raises TimeoutError after *timeout_s* seconds.
        """
        until = None if timeout_s is None else time.monotonic() + timeout_s
        with Call(["wait", self.id]) as call, live_card(self) as show:
            while not call.has_ended(within_s=_LOOK_S if until is None else max(0.0, min(_LOOK_S, until - time.monotonic()))):
                show()
                if until is not None and time.monotonic() >= until:
                    raise TimeoutError(f"run {self.id} has not ended after {timeout_s:g} s")
            call.raise_failure()
            show()
        if check:
            self._refuse_failure()

    @hints_shown()
    def stop(self) -> None:
        """Ask it to end, and wait until it has: SIGTERM, then SIGKILL after its `grace`."""
        do(["stop", self.id], quiet=True)

    def logs(self, *, follow: bool = False, tail: int | None = None) -> Iterator[str]:
        """The lines it printed, stdout and stderr in the order in which they came; of a sweep, a line for each trial that has
        ended. *follow*: as they come, to the end. *tail*: the last ones only."""
        options = [*(["--follow"] if follow else []), *([] if tail is None else [f"--tail={tail}"])]
        return lines_of(["logs", *options, self.id])

    @hints_shown()
    def fold(self) -> RunRecord:
        """The record, as launch has it inside; no promise."""
        record = fold(self._dir)
        if record is None:
            hint = "`launcher.runs()` lists those that are"
            raise ConfigError(f"run `{self.id}` is not in `{self._dir.state.root}` any more", hint=hint)
        return record

    def _refuse_failure(self) -> None:
        record = self.fold()
        if record.status is RunStatus.FINISHED:
            return
        why = record.message or f"{record.reason}, exit code {record.exit_code}"
        hint = "`list(run.logs(tail=20))` is what it said last; `wait(check=False)` takes any end"
        what = f"{type(self).__name__.lower()} `{self.id}` of {record.experiment}"
        raise RunFailed(f"{what} has ended {record.status}: {why}", hint=hint)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Run) and self._dir.root == other._dir.root

    def __hash__(self) -> int:
        return hash(self._dir.root)

    def __repr__(self) -> str:
        record = self.fold()
        return f"<{type(self).__name__} {self.id} {record.experiment} {record.status}>"

    def _repr_html_(self) -> str:
        return card(self.fold(), self.metrics)


class Sweep(Run):
    """A sweep: the run that its trials belong to."""

    @property
    def trials(self) -> list[dict[str, Value]]:
        """A row for each try of a trial that has begun, as `runs` has them."""
        return runs(where=f"sweep = '{self.id}' and trial is not null", sort="trial")

    @property
    @hints_shown()
    def best(self) -> Run:
        """The run of the best trial so far. Raises ConfigError where no trial has a value yet, where the sweep has no
        `sweep.metric`, and where several are best."""
        from launcher.sweep.results import results_of

        results = results_of(self.fold())
        best = results.best_one().trial
        return Run(next(trial.run_id or "" for trial in results.trials if trial.number == best))


@hints_shown()
def get_run(reference: str) -> Run:
    """The run or sweep that *reference* means: the beginning of an id, a name, `@last`, `@last~1` or an MLflow run id. Raises
    ConfigError."""
    record = find_run(state_dir(), reference)
    return Sweep(record.run_id) if record.is_sweep else Run(record.run_id)


@hints_shown()
def runs(
    *, where: str | None = None, sort: str | None = None, n: int | None = None, columns: Sequence[str] | None = None
) -> list[dict[str, Value]]:
    """The runs so far, oldest first, as rows that `pandas.DataFrame` takes. *where*, *sort*, *n* and *columns* are those of
    `launch runs`; without *columns* a row has all attributes, parameters and last metrics. Raises ConfigError."""
    records = list_runs(state_dir())
    for column in columns or ():
        check(column, records)
    return rows(choose_runs(records, where=where, sort=sort, n=n), columns)
