"""`launch sweep show SWEEP`: its trials, the best ones, what mattered, and pictures of it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from launcher.cli import render
from launcher.cli.command import Options
from launcher.cli.sweep.summary import best_lines
from launcher.errors import ConfigError
from launcher.run.recover import recover_all
from launcher.sweep.results import SweepResults, results_of
from launcher.sweep.trial_log import read_place
from launcher.tracking.lack import lack_of_sweep
from launcher.tracking.record.find_runs import find_run, list_runs
from launcher.tracking.record.run_record import RunRecord
from runtime.plurals import counted
from runtime.state_dir import StateDir, state_dir


def show_sweep(options: Options) -> int:
    state = state_dir()
    recover_all(state)
    record = find_sweep(state, options.sweep)
    results = results_of(record)
    if options.json:
        render.print_json(results.to_json())
        return 0
    for line in _lines(record, results, most=options.n):
        print(render.printable(line))
    if options.pictures is not None:
        _write_pictures(results, options.pictures)
    return 0


def _lines(record: RunRecord, results: SweepResults, *, most: int) -> Iterator[str]:
    words = ", ".join(f"{number} {word}" for word, number in results.counts().items())
    yield f"sweep {record.run_id} of {record.experiment}: {record.status.lower()}, {words or 'no trial yet'}"
    if record.alive and (place := read_place(record.run_dir.trials)) is not None:
        yield place
    yield from render.table(
        ("TRIAL", "RUN", *_short_keys(results), *results.settings.metrics, "ENDED"), _rows(results, most)
    ).splitlines()
    if len(results.trials) > most:
        yield f"… and {counted(len(results.trials) - most, 'trial')} more; `-n` shows them"
    yield from best_lines(results.best(), {trial.number: trial.run_id or "" for trial in results.trials}, results.settings)
    yield from _importance_lines(results)
    if lack := lack_of_sweep(record.run_dir, (trial.run_id for trial in results.trials)):
        yield lack


def _short_keys(results: SweepResults) -> list[str]:
    return [dimension.key.removeprefix("params.") for dimension in results.dimensions]


def _rows(results: SweepResults, most: int) -> list[tuple[object, ...]]:
    """The best first by the first metric, then those without a value by number."""
    descending = results.settings.directions[0] == "maximize"
    ranked = sorted(results.complete, key=lambda trial: trial.values[0], reverse=descending)
    first = {trial.number for trial in ranked}
    rest = [trial for trial in results.trials if trial.number not in first]
    shown = [*ranked, *rest][:most]
    return [
        (
            trial.number,
            trial.run_id or "-",
            *(_cell(trial.value_of(dimension)) for dimension in results.dimensions),
            *(map(render.number, trial.values) if trial.values else [""] * len(results.settings.metrics)),
            trial.verdict.replace("_", " ") if trial.verdict else f"open, on {trial.node}" if trial.node else "open",
        )
        for trial in shown
    ]


def _cell(value: float | str | None) -> str:
    return "" if value is None else value if isinstance(value, str) else render.number(value)


def _importance_lines(results: SweepResults) -> Iterator[str]:
    if not results.settings.metrics or len(results.dimensions) < 2:
        return
    from launcher.sweep.search.importance import importances

    found = importances(results)
    if found.trials < found.needed:
        yield f"what mattered: not known from {counted(found.trials, 'trial')}; {found.needed} are needed"
    elif found.shares:
        shares = "  ".join(f"{key} {share:.0%}" for key, share in found.shares.items())
        yield f"what mattered: {shares}  (in {found.trials} trials)"


def _write_pictures(results: SweepResults, directory: Path) -> None:
    from launcher.cli.sweep.pictures import FEWEST, write_pictures
    from launcher.sweep.search.importance import importances

    directory.mkdir(parents=True, exist_ok=True)
    written = write_pictures(results, directory, importance=importances(results))
    for path in written:
        print(path)
    if not written:
        render.say(f"no pictures: {len(results.complete)} trials have a value, and {FEWEST} are needed")


def find_sweep(state: StateDir, reference: str) -> RunRecord:
    """`@last` is the latest sweep, whatever ran since. Raises ConfigError."""
    if reference == "@last":
        sweeps = [record for record in list_runs(state) if record.is_sweep]
        if not sweeps:
            raise ConfigError("there are no sweeps yet", hint="`launch -m experiment=NAME params.lr=0.1,0.01` runs one")
        return sweeps[-1]
    record = find_run(state, reference)
    if record.sweep_id is None:
        hint = "`launch runs --where 'sweep is not null'` lists those that do"
        raise ConfigError(f"run `{record.run_id}` belongs to no sweep", hint=hint)
    return record if record.is_sweep else find_run(state, record.sweep_id)
