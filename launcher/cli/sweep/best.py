"""`launch sweep best SWEEP`: the best trial; run it again, or write it down as an experiment that others can launch."""

from __future__ import annotations

from pathlib import Path

from launcher.cli import render
from launcher.cli.command import Options
from launcher.cli.sweep.show import find_sweep
from launcher.cli.sweep.summary import best_lines
from launcher.errors import ConfigError
from launcher.sweep.results import results_of
from launcher.sweep.search.best import BestPoint
from launcher.tracking.record.run_record import RunRecord
from runtime.state_dir import state_dir


def show_best(options: Options) -> str:
    """Returns the run of the best trial."""
    record = find_sweep(state_dir(), options.sweep)
    results = results_of(record)
    must_choose = options.rerun or options.export is not None
    best = [results.best_one(options.trial)] if must_choose else results.best_ones(options.trial)
    runs = {trial.number: trial.run_id or "" for trial in results.trials}
    for line in best_lines(best, runs, results.settings):
        print(line)
    if options.export is not None:
        _export(options.export, record, best[0])
    return runs[best[0].trial]


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
