"""`launch plot RUN … METRIC`: curves of runs side by side, in the terminal or as a file."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

from launcher.cli import render
from launcher.cli.command import Options
from launcher.cli.plots.picture import Plot, plot_of
from launcher.errors import ConfigError
from launcher.run.compare.curve import Curve, read_curves
from launcher.tracking.record.find_runs import find_run, trials_of
from launcher.tracking.record.run_record import RunRecord
from runtime.state_dir import state_dir
from runtime.suggestions import did_you_mean

_ROWS = 16


def draw_metrics(options: Options) -> int:
    state = state_dir()
    named = [find_run(state, reference) for reference in options.words[:-1]]
    records = [*(record for record in named if not record.is_sweep), *trials_of(state, named)]
    plots = [_plot(metric, records, options) for metric in options.words[-1].split(",")]
    if options.output is not None:
        return _write(plots, options.output)
    from launcher.cli.plots.terminal import plot_lines

    size = shutil.get_terminal_size((80, 24))
    for plot in plots:
        for line in plot_lines(plot, columns=size.columns, rows=_ROWS):
            print(line)
    return 0


def _plot(metric: str, records: Sequence[RunRecord], options: Options) -> Plot:
    curves = {record.run_id: read_curves(record.run_dir) for record in records}
    labels = labels_of({record.run_id: record.overrides for record in records})
    labelled: list[tuple[str, Curve]] = []
    for record in records:
        curve = curves[record.run_id].get(metric)
        if curve is None:
            render.warn(f"run {record.run_id} has no metric `{metric}`")
        else:
            labelled.append((labels[record.run_id], curve))
    if not labelled:
        raise ConfigError(
            f"no run has a metric `{metric}`", hint=_metric_hint(metric, {name for each in curves.values() for name in each})
        )
    return plot_of(metric, labelled, over_time=options.time, log_y=options.log, smooth=options.smooth)


def labels_of(typed: Mapping[str, Sequence[str]]) -> dict[str, str]:
    """Run → `7f3a9c params.lr=0.1`: what was *typed* for it, but for the experiment and what all of them have."""
    shared = set.intersection(*map(set, typed.values())) if len(typed) > 1 else set()
    return {
        run_id: " ".join([run_id, *(word for word in words if word not in shared and not word.startswith("experiment="))])
        for run_id, words in typed.items()
    }


def _metric_hint(metric: str, known: set[str]) -> str:
    hint = did_you_mean(metric, known)
    if hint is not None:
        return hint
    return f"there are {', '.join(sorted(known)[:12])}" if known else "these runs have reported no metrics"


def _write(plots: Sequence[Plot], path: Path) -> int:
    from launcher.cli.plots.picture import check_format, write_plots

    check_format(path)
    write_plots(plots, path)
    print(path)
    return 0
