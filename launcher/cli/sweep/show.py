"""`launch sweep show SWEEP`: its trials, the best ones, what mattered, and pictures of it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from launcher.cli import arguments as args
from launcher.cli import render
from launcher.cli.sweep.find import find_sweep
from launcher.cli.sweep.summary import best_lines
from launcher.sweep.results import SweepResults, results_of
from launcher.sweep.trial_log import read_place
from launcher.tracking.record.run_record import RunRecord
from runtime.build.step_label import counted
from runtime.state_dir import state_dir


def main(arguments: Sequence[str]) -> int:
    parser = args.Parser("sweep show", "Show what a sweep found.", usage="SWEEP [-n N] [--pictures DIR] [--json]")
    parser.add_argument("sweep", metavar="SWEEP", help="its id or name, a trial of it, or @last")
    parser.add_argument("-n", type=int, default=20, metavar="N", help="the N best trials (default 20)")
    parser.add_argument("--pictures", type=Path, metavar="DIR", help="write history, parallel coordinates, slices and importance")
    parser.add_argument("--json", action="store_true", help="as JSON on stdout")
    args.add_debug_options(parser)
    options = parser.parse_args(arguments)
    args.apply_debug(options)
    from launcher.run.recover import recover_all

    state = state_dir()
    recover_all(state)
    record = find_sweep(state, options.sweep)
    results = results_of(record)
    if options.json:
        import json

        print(json.dumps(results.to_json(), indent=2))
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
