"""Find runs: all of them, or the one that a person means by `7f3a`, `@last~1`, a name or an MLflow run id."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence

from launcher.errors import ConfigError
from launcher.tracking.record.run_index import indexed_records
from launcher.tracking.record.run_record import RunRecord, fold
from runtime.state_dir import StateDir


def list_runs(state: StateDir) -> list[RunRecord]:
    """Every run, oldest first."""
    return _folded(state, _run_ids(state))


def find_run(state: StateDir, reference: str) -> RunRecord:
    """The one run that *reference* means: an id or its beginning, `@last`, `@last~N`, a name (its latest run), an MLflow run id.

    `@last` is what was launched last, a run or a sweep as a whole, `@last~1` what was launched before that: a sweep's trials have
    numbers, and nobody launched them one by one. Raises ConfigError when *reference* means none, or several.
    """
    if reference.startswith("@"):
        return _nth_last(state, reference)
    run_ids = _run_ids(state)
    if reference in run_ids:
        return _one(state, reference)
    # The MLflow id is longer than ours, and a name may look like hex: a prefix of one id is meant before either.
    matches = [run_id for run_id in run_ids if run_id.startswith(reference)]
    if len(matches) == 1:
        return _one(state, matches[0])
    if len(matches) > 1:
        raise ConfigError(
            f"`{reference}` is the beginning of {len(matches)} runs: {', '.join(matches[:8])}", hint="give more digits"
        )
    named = [record for record in _folded(state, run_ids) if reference in (record.name, record.mlflow_run_id)]
    if not named:
        raise ConfigError(f"no run `{reference}`", hint="`launch runs` lists them; `@last` is the latest")
    return named[-1]


def _nth_last(state: StateDir, reference: str) -> RunRecord:
    form = re.fullmatch(r"@last(?:~(\d+))?", reference)
    if form is None:
        raise ConfigError(f"`{reference}` is not a run", hint="write `@last` or `@last~1`, `@last~2`, ...")
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
    return sorted(indexed_records(state, run_ids), key=lambda record: (record.created_at, record.run_id))


def _run_ids(state: StateDir) -> list[str]:
    try:
        return sorted(entry for entry in os.listdir(state.runs) if re.fullmatch(r"[0-9a-f]{6,}", entry))
    except (FileNotFoundError, NotADirectoryError):
        return []
