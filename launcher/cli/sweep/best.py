"""`launch sweep best SWEEP`: the best trial; run it again, or write it down as an experiment that others can launch."""

from __future__ import annotations

from pathlib import Path

from launcher.cli import render
from launcher.cli.command import Options
from launcher.cli.sweep.show import find_sweep
from launcher.cli.sweep.summary import best_lines
from launcher.errors import ConfigError
from launcher.sweep.results import SweepResults, results_of
from launcher.sweep.search.best import BestPoint
from launcher.tracking.record.run_record import RunRecord
from runtime.state_dir import state_dir


def show_best(options: Options) -> str:
    """Returns the run of the best trial."""
    record = find_sweep(state_dir(), options.sweep)
    results = results_of(record)
    best = _choose(results, options.trial, must_choose=options.rerun or options.export is not None)
    runs = {trial.number: trial.run_id or "" for trial in results.trials}
    for line in best_lines(best, runs, results.settings):
        print(line)
    if options.export is not None:
        _export(options.export, record, best[0])
    return runs[best[0].trial]


def _choose(results: SweepResults, number: int | None, *, must_choose: bool) -> list[BestPoint]:
    best = results.best()
    if not best:
        metrics = " and ".join(f"`{name}`" for name in results.settings.metrics)
        words = f"none has a value of {metrics} yet" if metrics else "the sweep names no metric"
        hint = f"`launch sweep show {results.sweep_id}` shows its trials" if metrics else "`sweep.metric` names what to optimise"
        raise ConfigError(f"sweep `{results.sweep_id}` has no best trial: {words}", hint=hint)
    if number is not None:
        best = [each for each in best if each.trial == number]
        if not best:
            raise ConfigError(f"trial {number} is not among the best", hint=f"`launch sweep best {results.sweep_id}` shows them")
    if must_choose and len(best) > 1:
        raise ConfigError(f"{len(best)} trials are best: no one beats another in every metric", hint="`--trial N` chooses one")
    return best


def _export(path: Path, record: RunRecord, best: BestPoint) -> None:
    """An experiment file on top of the swept one, in Hydra's words."""
    from launcher.config.amend import as_file_content

    if path.exists():
        raise ConfigError(f"`{path}` exists already", hint="name another file, or remove it")
    if path.suffix != ".yaml":
        raise ConfigError(f"`{path}` is no YAML file", hint="conf/experiment/best.yaml")
    groups, values = as_file_content(best.overrides)
    experiment = groups.pop("experiment", record.experiment)
    import yaml

    lines = ["# @package _global_", f"# The best of sweep {record.run_id} (trial {best.trial})."]
    lines += ["defaults:", f"  - {experiment}"]
    lines += [f"  - override /{group}: {choice}" for group, choice in groups.items()]
    lines += ["  - _self_"]
    body = yaml.safe_dump(values, sort_keys=False, default_flow_style=None) if values else ""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n" + body)
    render.say(f"wrote {path}: `launch experiment={path.stem}`")
