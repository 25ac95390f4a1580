"""Find runs: all of them, or the one that a person means by `7f3a`, `@last~1`, a name or an MLflow run id."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

from launcher.errors import ConfigError
from launcher.tracking.record.run_index import indexed_records
from launcher.tracking.record.run_record import RunRecord, fold
from runtime.state_dir import DEV, StateDir

_CLOCKS_APART_S = 60.0
"""So far the clock of another machine with the same LAUNCH_HOME may be ahead of ours."""


def list_runs(state: StateDir) -> list[RunRecord]:
    """Every run that this user may look into, oldest first."""
    return _folded(state, _run_ids(state))


def active_records(state: StateDir) -> list[RunRecord]:
    """Those on the list of runs that have not ended, as far as this user may look into them."""
    found = []
    for run_dir in state.active.runs():
        with suppress(PermissionError):
            found.append(fold(run_dir))
    return [record for record in found if record is not None]


def count_hidden(state: StateDir, records: Sequence[RunRecord]) -> int:
    """How many runs of other users, which are not among the *records* of this one, may not be looked into."""
    known = {record.run_id for record in records}
    return sum(not os.access(state.runs / run_id, os.R_OK | os.X_OK) for run_id in _run_ids(state) if run_id not in known)


def find_run(state: StateDir, reference: str) -> RunRecord:
    """The one run that *reference* means: an id or its beginning, `@last`, `@last~N`, `@job4242` (the latest in that job of a
    cluster), a name (its latest run), an MLflow run id. Or a container to work in, which is no run: by its id, the beginning of
    that, or its name.

    `@last` is what was launched last, a run or a sweep as a whole, `@last~1` what was launched before that: a sweep's trials have
    numbers, and nobody launched them one by one. Raises ConfigError when *reference* means none, or several.
    """
    if re.fullmatch(r"@job\d+", reference):
        return _of_job(state, reference.removeprefix("@job"))
    if reference.startswith("@"):
        return _nth_last(state, reference)
    run_ids, dev_ids = _run_ids(state), _dev_ids(state)
    if reference in run_ids:
        return _one(state, reference)
    # The MLflow id is longer than ours, and a name may look like hex: a prefix of one id is meant before either.
    matches = [run_id for run_id in (*run_ids, *dev_ids) if run_id.startswith(reference)]
    if len(matches) == 1:
        return _one(state, matches[0])
    if len(matches) > 1:
        raise ConfigError(
            f"`{reference}` is the beginning of {len(matches)} runs: {', '.join(matches[:8])}", hint="give more digits"
        )
    records = (*_folded(state, run_ids), *(record for dev_id in dev_ids if (record := fold(state.run(dev_id))) is not None))
    named = [record for record in records if reference in (record.name, record.mlflow_run_id)]
    if not named:
        raise ConfigError(f"no run `{reference}`", hint="`launch runs` lists them; `@last` is the latest")
    return named[-1]


def trials_of(state: StateDir, records: Sequence[RunRecord]) -> list[RunRecord]:
    """The trials of the sweeps among *records*."""
    sweeps = {record.run_id for record in records if record.is_sweep}
    return [record for record in list_runs(state) if record.parent_run_id in sweeps] if sweeps else []


def _of_job(state: StateDir, job: str) -> RunRecord:
    """One of a worker's job is the trial that it began last."""
    of_job = [record for record in list_runs(state) if record.job == job]
    if not of_job:
        raise ConfigError(f"no run was in job `{job}` of a cluster", hint="`launch runs` lists them all")
    return of_job[-1]


def _nth_last(state: StateDir, reference: str) -> RunRecord:
    form = re.fullmatch(r"@last(?:~(\d+))?", reference)
    if form is None:
        raise ConfigError(f"`{reference}` is not a run", hint="write `@last`, `@last~1`, `@last~2`, ..., or `@job4242`")
    launched = [record for record in list_runs(state) if record.trial is None]
    back = int(form[1] or 0)
    if back >= len(launched):
        count = len(launched)
        there = "there are no runs yet" if not count else "there is 1 run" if count == 1 else f"there are {count} runs"
        raise ConfigError(f"no run `{reference}`: {there}", hint="`launch experiment=NAME` makes one" if not count else None)
    return launched[-1 - back]


def _one(state: StateDir, run_id: str) -> RunRecord:
    record = fold(state.run(run_id))
    if record is None:
        raise ConfigError(f"run `{run_id}` has no journal: its launch ended before anything was recorded")
    return record


def _folded(state: StateDir, run_ids: Sequence[str]) -> list[RunRecord]:
    """Oldest first. What is of the future was launched while the clock was ahead, and is not the latest until that time comes."""
    now = datetime.fromtimestamp(time.time() + _CLOCKS_APART_S, UTC)
    return sorted(indexed_records(state, run_ids), key=lambda run: (run.created_at <= now, run.created_at, run.run_id))


def _run_ids(state: StateDir) -> list[str]:
    return _entries(state.runs, r"[0-9a-f]{6,}")


def _dev_ids(state: StateDir) -> list[str]:
    return _entries(state.dev, f"{DEV}[0-9a-f]{{6,}}")


def _entries(directory: Path, form: str) -> list[str]:
    try:
        return sorted(entry for entry in os.listdir(directory) if re.fullmatch(form, entry))
    except (FileNotFoundError, NotADirectoryError):
        return []
